#!/usr/bin/env python3
"""Training steps beside PyTorch's, in the same run on the same threads: a table of ratios of medians and of minima.

    python tests/compare/training.py build/release/tools/fcc [--threads 1 2] [--only digit_mlp] [--compile] [--seconds 2]
    python tests/compare/training.py build/release/tools/fcc --only encoder --json rows.json   # adds its rows to the file
    python tests/compare/training.py --json rows.json --markdown docs/training_performance.md  # writes the tables of the page

PyTorch is timed eagerly with its fused or foreach optimizer, convolutions in both memory layouts, and with --compile also
through torch.compile; the fastest form counts. Rounds of the two alternate, so that a neighbour on the machine disturbs both.
Memory is what a process of its own holds at most in a step above what it held before its first.
"""
import argparse
import datetime
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")


def nets():
    import torch
    from torch import nn

    def mlp(*sizes, norm=False):
        layers = []
        for a, b in zip(sizes, sizes[1:]):
            layers.append(nn.Linear(a, b))
            if b != sizes[-1]:
                layers += [nn.BatchNorm1d(b), nn.ReLU()] if norm else [nn.ReLU()]
        return nn.Sequential(*layers)

    def digit_cnn():
        return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))

    def orientation():
        layers, c = [], 1
        for width in (32, 64, 128, 128, 128):
            layers += [nn.Conv2d(c, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            c = width
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(28800, 64), nn.ReLU(), nn.Linear(64, 2))

    def resnet18():
        import torchvision
        return torchvision.models.resnet18()

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(256, 10)

        def forward(self, x):
            return self.head(self.body(x).mean(dim=1))

    sgd = lambda p: torch.optim.SGD(p, lr=0.01, foreach=True)
    momentum = lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, foreach=True)
    adam = lambda p: torch.optim.Adam(p, fused=True)
    adamw = lambda p: torch.optim.AdamW(p, fused=True)
    # name: module, input of a row, batch, classes (0: regression), optimizer for fcc, for PyTorch, the ratio wanted
    return {
        "tiny_mlp": (lambda: mlp(16, 32, 32, 4), (16,), 64, 4, "sgd(lr=0.01)", sgd, 20),
        "bn_mlp": (lambda: mlp(8, 64, 32, 1, norm=True), (8,), 32, 0, "adam", adam, 20),
        "digit_mlp": (lambda: mlp(784, 128, 64, 10), (784,), 64, 10, "adam", adam, 3.5),
        "mlp_512": (lambda: mlp(784, 512, 512, 10), (784,), 64, 10, "sgd(lr=0.01)", sgd, 1.8),
        "digit_cnn": (digit_cnn, (1, 28, 28), 64, 10, "sgd(lr=0.01,momentum=0.9)", momentum, 2.5),
        "orientation_1": (orientation, (1, 480, 480), 1, 0, "adam", adam, 2.5),
        "orientation_8": (orientation, (1, 480, 480), 8, 0, "adam", adam, 3),
        "resnet18": (resnet18, (3, 224, 224), 8, 1000, "sgd(lr=0.01,momentum=0.9)", momentum, 2.2),
        "encoder": (Encoder, (128, 256), 8, 10, "adamw", adamw, 2),
    }


NAMES = ["tiny_mlp", "bn_mlp", "digit_mlp", "mlp_512", "digit_cnn", "orientation_1", "orientation_8", "resnet18", "encoder"]


def train_library(fcc, folder, name, module, row, batch, classes, optimizer):
    """The library, and the seconds of a compilation that finds nothing in the cache."""
    import torch
    from torch import nn
    onnx_file, library = folder / f"{name}.onnx", folder / f"{name}.so"
    has_norm = any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in module.modules())
    mode = torch.onnx.TrainingMode.TRAINING if has_norm else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(module.eval(), (torch.zeros(2, *row),), str(onnx_file), input_names=["x"], output_names=["y"], opset_version=17, dynamo=False, training=mode,
                      do_constant_folding=False, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        subprocess.run([fcc, "train", str(onnx_file), "-o", str(library), "--loss", "cross_entropy" if classes else "mse", "--optimizer", optimizer, "--dim", f"N={batch}"],
                       check=True, stderr=subprocess.DEVNULL, env=dict(os.environ, XDG_CACHE_HOME=cache))
    return library, time.perf_counter() - start


def fcc_times(fcc, library, target, threads, seconds):
    out = subprocess.run([fcc, "bench", str(library), "--entry", "train_step", "-i", f"target={target}", "--threads", str(threads), "--seconds", str(seconds), "--json"],
                         check=True, capture_output=True, text=True).stdout
    r = json.loads(out)
    return {"median": r["median_ns"] / 1e6, "min": r["min_ns"] / 1e6, "flops": r["flops"], "peak": r["peak_gflops"]}


def torch_times(step, seconds):
    for _ in range(2):
        step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {"median": statistics.median(times) * 1e3, "min": min(times) * 1e3}


def torch_step(entry, layout, compiled):
    """One training step of a fresh module; layout: plain or channels_last."""
    import torch
    import torch.nn.functional as F
    make, row, batch, classes, _, optimizer, _ = entry
    torch.manual_seed(1)
    module, x = make().train(), torch.rand(batch, *row)
    if layout == "channels_last":
        module, x = module.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    y = torch.randint(0, classes, (batch,)) if classes else torch.rand(module(x).shape)
    opt = optimizer(module.parameters())
    run = torch.compile(module) if compiled else module

    def step():
        opt.zero_grad(set_to_none=True)
        (F.cross_entropy if classes else F.mse_loss)(run(x), y).backward()
        opt.step()

    return step, y


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def torch_memory(name):
    """In a process of its own: the most that two steps hold above what module and data hold: activations, gradients, and what
    the optimizer keeps (twice the parameters for Adam, small beside the activations of the nets this is asked of)."""
    import torch
    torch.set_num_threads(2)
    step, _ = torch_step(nets()[name], "channels_last" if len(nets()[name][1]) == 3 else "plain", False)
    before = resident_mib()
    for _ in range(2):
        step()
    print(peak_mib() - before)


def step_mib(fcc, folder, library):
    """Activations and gradients of fcc: the workspace that the planner gives a step."""
    info = json.loads(subprocess.run([fcc, "info", str(library), "--json"], check=True, capture_output=True, text=True).stdout)
    return next(e for e in info["entries"] if e["name"] == "train_step")["workspace_bytes"] / 2**20


def measure(args, keep):
    import torch
    table = nets()
    print(f"torch {torch.__version__.split('+')[0]}; milliseconds a step: median (minimum)")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in args.only:
            entry = table[name]
            make, row, batch, classes, optimizer, _, wanted = entry
            torch.manual_seed(1)
            library, compile_seconds = train_library(args.fcc, folder, name, make(), row, batch, classes, optimizer)
            forms = [("plain", False)] + ([("channels_last", False)] if len(row) == 3 else []) + ([("plain", True)] if args.compile else [])
            steps = {}
            for layout, compiled in forms:
                steps[layout + (", compiled" if compiled else "")], y = torch_step(entry, layout, compiled)
            np.save(folder / "target.npy", y.numpy())
            result = {"name": name, "wanted": wanted, "batch": batch, "compile_seconds": compile_seconds, "step_mib": step_mib(args.fcc, folder, library), "threads": {}}
            if args.memory:
                out = subprocess.run([sys.executable, __file__, "--torch-memory", name], check=True, capture_output=True, text=True).stdout
                result["torch_mib"] = float(out.split()[-1])
            for threads in args.threads:
                torch.set_num_threads(threads)
                ours, theirs = [], {form: [] for form in steps}
                for _ in range(args.rounds):
                    ours.append(fcc_times(args.fcc, library, folder / "target.npy", threads, args.seconds / args.rounds))
                    for form, step in steps.items():
                        theirs[form].append(torch_times(step, args.seconds / args.rounds / len(steps)))
                both = lambda runs: {"median": statistics.median(r["median"] for r in runs), "min": min(r["min"] for r in runs)}
                best = min(theirs, key=lambda form: both(theirs[form])["median"])
                a, b = both(ours), both(theirs[best])
                bound = ours[0]["flops"] / ours[0]["peak"] / 1e6  # milliseconds of multiply-adds alone, as the direct methods count them
                result["threads"][str(threads)] = {"fcc": a, "torch": b, "form": best, "bound": bound}
                print(f"{name:14} T{threads}  fcc {a['median']:9.3f} ({a['min']:9.3f})   torch {b['median']:9.3f} ({b['min']:9.3f}) {best:13}  "
                      f"ratio {b['median'] / a['median']:6.2f} ({b['min'] / a['min']:.2f})  direct bound {bound:.3f}", flush=True)
            memory = f", PyTorch {result['torch_mib']:.0f} MiB" if "torch_mib" in result else ""
            print(f"{name:14} fcc train took {compile_seconds:.2f} s; a step holds {result['step_mib']:.1f} MiB{memory}", flush=True)
            keep(result)


def machine():
    name = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    family = {key: line.split(":")[1].strip() for line in open("/proc/cpuinfo") for key in ("cpu family", "model\t") if line.startswith(key)}
    return f"{name} (family {family.get('cpu family', '?')}, model {family.get(chr(109) + 'odel' + chr(9), '?')}), {os.cpu_count()} CPUs"


def versions():
    import torch
    return f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}, {datetime.date.today().isoformat()}"


def tables(data):
    lines = [f"Machine: {data['machine']}. {data['versions']}. Milliseconds a step, median / minimum; the ratio is that of the medians, then of",
             "the minima. *bound*: the multiply-adds of the direct methods at the peak measured beside them, which Winograd's transform may go below.", "",
             "| step | goal | threads | fcc | PyTorch | its form | ratio | bound |", "|---|---|---|---|---|---|---|---|"]
    rows = sorted(data["rows"].values(), key=lambda r: NAMES.index(r["name"]))
    number = lambda v: f"{v:.4f}" if v < 0.1 else f"{v:.3f}" if v < 10 else f"{v:.1f}"
    for r in rows:
        for threads, t in sorted(r["threads"].items()):
            a, b = t["fcc"], t["torch"]
            lines.append(f"| {r['name']} | {r['wanted']} | {threads} | {number(a['median'])} / {number(a['min'])} | {number(b['median'])} / {number(b['min'])} | {t['form']} | "
                         f"**{b['median'] / a['median']:.2f}** / {b['min'] / a['min']:.2f} | {number(t['bound'])} |")
    lines += ["", "| step | `fcc train`, nothing cached | a step holds | PyTorch's step holds | share |", "|---|---|---|---|---|"]
    for r in rows:
        peer = r.get("torch_mib")
        lines.append(f"| {r['name']} | {r['compile_seconds']:.2f} s | {r['step_mib']:.1f} MiB | " + (f"{peer:.0f} MiB | {100 * r['step_mib'] / peer:.0f} % |" if peer else "| |"))
    return "\n".join(lines) + "\n"


def write_markdown(path, data):
    """Replaces what stands between the two marks of the page; the text around them is written by hand."""
    begin, end = "<!-- written by tests/compare/training.py -->\n", "<!-- end -->\n"
    text = path.read_text() if path.exists() else f"# Training steps beside PyTorch\n\n{begin}{end}"
    before, rest = text.split(begin)
    path.write_text(before + begin + tables(data) + end + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fcc", nargs="?")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", action="store_true", help="also the memory of PyTorch's step, in a process of its own")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, help="a file that collects the rows of several runs")
    parser.add_argument("--markdown", type=pathlib.Path, help="the page whose tables are written")
    parser.add_argument("--torch-memory", metavar="NAME", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_memory:
        return torch_memory(args.torch_memory)
    data = json.loads(args.json.read_text()) if args.json and args.json.exists() else {"rows": {}}
    if args.fcc:
        data = {"machine": machine(), "versions": versions(), "rows": data["rows"]}

        def keep(row):  # at once: a run may be cut off
            data["rows"][row["name"]] = row
            if args.json:
                args.json.write_text(json.dumps(data, indent=1))

        measure(args, keep)
    if args.markdown:
        write_markdown(args.markdown, data)


if __name__ == "__main__":
    main()
