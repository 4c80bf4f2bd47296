#!/usr/bin/env python3
"""Writes trajectories.json: what PyTorch's optimizers (and ONNX's reference formulas) make of a recorded sequence of
gradients in float64, at a constant rate and under every schedule. The unit test runs fcc's Optimize on the same gradients.

    python tests/train/export_trajectories.py > tests/train/trajectories.json
"""
import json
import sys

import numpy as np
import torch
from onnx.backend.test.case.node.adagrad import apply_adagrad
from onnx.backend.test.case.node.adam import apply_adam
from onnx.backend.test.case.node.momentum import apply_momentum, apply_nesterov

STEPS, KEPT = 100, (1, 2, 3, 5, 6, 7, 10, 30, 100)
generator = np.random.default_rng(7)
SIZE = 6
# Magnitudes from 1 to 1e-8, one element that is always 0, signs that change.
GRADIENTS = generator.standard_normal((STEPS, SIZE)) * np.array([1, 1e-2, 1e-5, 1e-8, 0, 30])
START = generator.standard_normal(SIZE)

TORCH = [
    ("sgd(lr=0.1)", torch.optim.SGD, dict(lr=0.1)),
    ("sgd(lr=0.1,momentum=0.9)", torch.optim.SGD, dict(lr=0.1, momentum=0.9)),
    ("sgd(lr=0.1,momentum=0.9,dampening=0.3,weight_decay=0.01)", torch.optim.SGD, dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01)),
    ("sgd(lr=0.1,momentum=0.9,nesterov=true)", torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True)),
    ("adam", torch.optim.Adam, {}),
    ("adam(lr=0.01,beta1=0.8,beta2=0.99,eps=1e-6,weight_decay=0.1)", torch.optim.Adam, dict(lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)),
    ("adam(amsgrad=true)", torch.optim.Adam, dict(amsgrad=True)),
    ("adamw", torch.optim.AdamW, {}),
    ("adamw(lr=0.01,weight_decay=0.2,amsgrad=true)", torch.optim.AdamW, dict(lr=0.01, weight_decay=0.2, amsgrad=True)),
    ("nadam", torch.optim.NAdam, {}),
    ("nadam(weight_decay=0.1)", torch.optim.NAdam, dict(weight_decay=0.1)),
    ("nadam(weight_decay=0.1,decoupled_weight_decay=true)", torch.optim.NAdam, dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("radam(lr=0.01)", torch.optim.RAdam, dict(lr=0.01)),
    ("radam(weight_decay=0.1)", torch.optim.RAdam, dict(weight_decay=0.1)),
    ("radam(weight_decay=0.1,decoupled_weight_decay=true)", torch.optim.RAdam, dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("rmsprop", torch.optim.RMSprop, {}),
    ("rmsprop(lr=0.003,momentum=0.9,centered=true,weight_decay=0.05)", torch.optim.RMSprop, dict(lr=0.003, momentum=0.9, centered=True, weight_decay=0.05)),
    ("adagrad", torch.optim.Adagrad, {}),
    ("adagrad(lr_decay=0.1,weight_decay=0.01,initial_accumulator_value=0.1)", torch.optim.Adagrad, dict(lr_decay=0.1, weight_decay=0.01, initial_accumulator_value=0.1)),
    ("adadelta", torch.optim.Adadelta, {}),
    ("adadelta(lr=0.5,rho=0.95,weight_decay=0.01)", torch.optim.Adadelta, dict(lr=0.5, rho=0.95, weight_decay=0.01)),
]

S = torch.optim.lr_scheduler
METRICS = [1.0 / (1 + t // 7) for t in range(STEPS)]  # what plateau is shown: it stands still for seven steps


def after_warmup(make, warmup, start):
    return lambda o: S.SequentialLR(o, [S.LinearLR(o, start, 1.0, warmup), make(o)], milestones=[warmup])


SCHEDULED = [
    ("sgd(lr=0.1,momentum=0.9)", torch.optim.SGD, dict(lr=0.1, momentum=0.9), "step(steps=30, gamma=0.1)", lambda o: S.StepLR(o, 30, 0.1)),
    ("adam(lr=0.01)", torch.optim.Adam, dict(lr=0.01), "multistep(steps=20:50:51, gamma=0.5)", lambda o: S.MultiStepLR(o, [20, 50, 51], 0.5)),
    ("rmsprop", torch.optim.RMSprop, {}, "exponential(gamma=0.97, per=step)", lambda o: S.ExponentialLR(o, 0.97)),
    ("adamw(lr=0.01,weight_decay=0.2)", torch.optim.AdamW, dict(lr=0.01, weight_decay=0.2), "cosine(steps=90, min_lr=0.001)", lambda o: S.CosineAnnealingLR(o, 90, 0.001)),
    ("nadam", torch.optim.NAdam, {}, "restarts(steps=12, mult=2)", lambda o: S.CosineAnnealingWarmRestarts(o, 12, 2)),
    ("adagrad(lr=0.1)", torch.optim.Adagrad, dict(lr=0.1), "linear(steps=60, start=0.25, end=0.5)", lambda o: S.LinearLR(o, 0.25, 0.5, 60)),
    ("radam(lr=0.01)", torch.optim.RAdam, dict(lr=0.01), "onecycle(steps=100, max_lr=0.05)", lambda o: S.OneCycleLR(o, 0.05, total_steps=100, cycle_momentum=False)),
    ("adadelta", torch.optim.Adadelta, {}, "plateau(patience=3, factor=0.5)", lambda o: S.ReduceLROnPlateau(o, patience=3, factor=0.5)),
    ("adamw", torch.optim.AdamW, {}, "cosine(steps=90, warmup=10, warmup_start=0.1)", after_warmup(lambda o: S.CosineAnnealingLR(o, 90), 10, 0.1)),
]


def with_torch(kind, options, clip_norm=None, schedule=None):
    p = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = kind([p], **options)
    scheduler = schedule(optimizer) if schedule else None
    path = []
    for g in GRADIENTS:
        p.grad = torch.tensor(g, dtype=torch.float64)
        if clip_norm:
            torch.nn.utils.clip_grad_norm_([p], clip_norm)
        optimizer.step()
        path.append(p.detach().numpy().copy())
        if isinstance(scheduler, S.ReduceLROnPlateau):
            scheduler.step(METRICS[len(path) - 1])
        elif scheduler and len(path) < STEPS:
            scheduler.step()
    return path


def lion(lr, beta1, beta2, decay):
    """Chen et al. 2023, algorithm 2."""
    p, m, path = START.copy(), np.zeros(SIZE), []
    for g in GRADIENTS:
        p = p * (1 - lr * decay) - lr * np.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
        path.append(p.copy())
    return path


def onnx_adam(**a):
    x, v, h, path = START.copy(), np.zeros(SIZE), np.zeros(SIZE), []
    for t, g in enumerate(GRADIENTS, start=1):
        x, v, h = apply_adam(a["r"], t, x, g, v, h, a["norm"], a["post"], a["alpha"], a["beta"], a["epsilon"])
        path.append(x.copy())
    return path


def onnx_adagrad(r, decay, epsilon, norm):
    x, h, path = START.copy(), np.zeros(SIZE), []
    for t, g in enumerate(GRADIENTS):
        x, h = apply_adagrad(r, t, x, g, h, norm, epsilon, decay)
        path.append(x.copy())
    return path


def onnx_momentum(apply, r, alpha, beta, norm):
    x, v, path = START.copy(), np.zeros(SIZE), []
    for t, g in enumerate(GRADIENTS):
        x, v = apply(r, t, x, g, v, norm, alpha, beta)
        path.append(x.copy())
    return path


def main():
    cases = [(name, "", with_torch(kind, options)) for name, kind, options in TORCH]
    cases.append(("adam(lr=0.01)", "clip_norm=0.5", with_torch(torch.optim.Adam, dict(lr=0.01), clip_norm=0.5)))
    cases.append(("lion(lr=0.001,weight_decay=0.1)", "", lion(1e-3, 0.9, 0.99, 0.1)))
    cases.append(("onnx.adam(norm_coefficient=0.01,norm_coefficient_post=0.001)", "",
                  onnx_adam(r=1e-3, norm=0.01, post=0.001, alpha=0.9, beta=0.999, epsilon=1e-6)))
    cases.append(("onnx.adagrad(decay_factor=0.1)", "", onnx_adagrad(1e-2, 0.1, 1e-6, 0)))
    cases.append(("onnx.momentum(beta=0.3,norm_coefficient=0.01)", "", onnx_momentum(apply_momentum, 1e-2, 0.9, 0.3, 0.01)))
    cases.append(("onnx.momentum(nesterov=true)", "", onnx_momentum(apply_nesterov, 1e-2, 0.9, 1.0, 0)))
    scheduled = [{"optimizer": name, "options": "", "schedule": text, "steps": {str(k): path[k - 1].tolist() for k in KEPT}}
                 for name, kind, options, text, make in SCHEDULED for path in [with_torch(kind, options, schedule=make)]]
    result = {
        "made_by": f"torch {torch.__version__.split('+')[0]}",
        "start": START.tolist(),
        "gradients": GRADIENTS.tolist(),
        "cases": [{"optimizer": name, "options": options, "steps": {str(k): path[k - 1].tolist() for k in KEPT}} for name, options, path in cases] + scheduled,
        "metrics": METRICS,
    }
    json.dump(result, sys.stdout, indent=None, separators=(",", ":"))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
