"""Writes schedules.inc: learning rates of torch.optim.lr_scheduler, for schedule_test.cc to follow."""
import warnings
import torch
from torch.optim import lr_scheduler as s

warnings.filterwarnings("ignore")
BASE = 0.05
METRICS = [1.0, 0.9, 0.95, 0.94, 0.93, 0.92, 0.91, 0.9, 0.89999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.4] + [0.4] * 23


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], lr=BASE)


def sequential(make, warmup, start):
    def both(o):
        return s.SequentialLR(o, [s.LinearLR(o, start, 1.0, warmup), make(o)], milestones=[warmup])
    return both


CASES = [
    ("constant", lambda o: s.ConstantLR(o, 1.0, 1)),
    ("step(steps=7, gamma=0.3)", lambda o: s.StepLR(o, 7, 0.3)),
    ("multistep(steps=3:11:12, gamma=0.5)", lambda o: s.MultiStepLR(o, [3, 11, 12], 0.5)),
    ("exponential(gamma=0.93, per=step)", lambda o: s.ExponentialLR(o, 0.93)),
    ("cosine(steps=25, min_lr=0.001)", lambda o: s.CosineAnnealingLR(o, 25, 0.001)),
    ("restarts(steps=5, mult=2, min_lr=0.002)", lambda o: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.002)),
    ("restarts(steps=6)", lambda o: s.CosineAnnealingWarmRestarts(o, 6)),
    ("linear(steps=9)", lambda o: s.LinearLR(o, total_iters=9)),
    ("linear(steps=12, start=0.25, end=0.5)", lambda o: s.LinearLR(o, 0.25, 0.5, 12)),
    ("onecycle(steps=40, max_lr=0.4)", lambda o: s.OneCycleLR(o, 0.4, total_steps=40, cycle_momentum=False)),
    ("onecycle(steps=40, max_lr=0.3, pct_start=0.4, anneal=linear, div=10, final_div=100, three_phase=1)",
     lambda o: s.OneCycleLR(o, 0.3, total_steps=40, pct_start=0.4, anneal_strategy="linear", div_factor=10,
                            final_div_factor=100, three_phase=True, cycle_momentum=False)),
    ("cosine(steps=30, warmup=5, warmup_start=0.2)", sequential(lambda o: s.CosineAnnealingLR(o, 30), 5, 0.2)),
    ("step(steps=10, gamma=0.5, warmup=4, warmup_start=0.1)", sequential(lambda o: s.StepLR(o, 10, 0.5), 4, 0.1)),
    ("plateau(patience=3, factor=0.5, min_lr=0.004, cooldown=2)",
     lambda o: s.ReduceLROnPlateau(o, patience=3, factor=0.5, min_lr=0.004, cooldown=2)),
    ("plateau(patience=2, factor=0.1, threshold=0.01, threshold_mode=abs, mode=max)",
     lambda o: s.ReduceLROnPlateau(o, patience=2, factor=0.1, threshold=0.01, threshold_mode="abs", mode="max")),
]

print("// Recorded by record_schedules.py from PyTorch", torch.__version__ + ". Base rate 0.05; 40 rates a schedule.")
for text, make in CASES:
    o = optimizer()
    schedule = make(o)
    rates = []
    for t in range(40):
        rates.append(o.param_groups[0]["lr"])
        o.step()
        if t < 39:
            schedule.step(METRICS[t]) if text.startswith("plateau") else schedule.step()
    print('{"%s",\n {%s}},' % (text, ", ".join(repr(float(r)) for r in rates)))
