#!/usr/bin/env python3
"""Training steps beside PyTorch's, in the same run on the same threads: a table of ratios of medians.

    python tests/compare/training.py build/release/tools/fcc [--threads 1 2] [--only digit_mlp] [--compile] [--seconds 2]

PyTorch is timed eagerly with its fused optimizer where there is one, and with --compile also through torch.compile; the
better of them counts. Rounds of the two alternate, so that a neighbour on the machine disturbs both.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore")


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


# name: module, input of a row, batch, classes (0: regression), optimizer for fcc, for PyTorch
NETS = {
    "tiny_mlp": (lambda: mlp(16, 32, 32, 4), (16,), 64, 4, "sgd(lr=0.01)", lambda p: torch.optim.SGD(p, lr=0.01, foreach=True)),
    "bn_mlp": (lambda: mlp(8, 64, 32, 1, norm=True), (8,), 32, 0, "adam", lambda p: torch.optim.Adam(p, fused=True)),
    "digit_mlp": (lambda: mlp(784, 128, 64, 10), (784,), 64, 10, "adam", lambda p: torch.optim.Adam(p, fused=True)),
    "mlp_512": (lambda: mlp(784, 512, 512, 10), (784,), 64, 10, "sgd(lr=0.01)", lambda p: torch.optim.SGD(p, lr=0.01, foreach=True)),
    "digit_cnn": (digit_cnn, (1, 28, 28), 64, 10, "sgd(lr=0.01,momentum=0.9)", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, foreach=True)),
    "orientation_1": (orientation, (1, 480, 480), 1, 0, "adam", lambda p: torch.optim.Adam(p, fused=True)),
    "orientation_8": (orientation, (1, 480, 480), 8, 0, "adam", lambda p: torch.optim.Adam(p, fused=True)),
    "resnet18": (resnet18, (3, 224, 224), 8, 1000, "sgd(lr=0.01,momentum=0.9)", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, foreach=True)),
    "encoder": (Encoder, (128, 256), 8, 10, "adamw", lambda p: torch.optim.AdamW(p, fused=True)),
}


def train_library(fcc, folder, name, module, row, batch, classes, optimizer):
    onnx_file, library = folder / f"{name}.onnx", folder / f"{name}.so"
    has_norm = any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in module.modules())
    mode = torch.onnx.TrainingMode.TRAINING if has_norm else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(module.eval(), (torch.zeros(2, *row),), str(onnx_file), input_names=["x"], output_names=["y"], opset_version=17, dynamo=False, training=mode,
                      do_constant_folding=False, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
    start = time.perf_counter()
    subprocess.run([fcc, "train", str(onnx_file), "-o", str(library), "--loss", "cross_entropy" if classes else "mse", "--optimizer", optimizer, "--dim", f"N={batch}"],
                   check=True, stderr=subprocess.DEVNULL)
    return library, time.perf_counter() - start


def fcc_median(fcc, library, target, threads, seconds):
    out = subprocess.run([fcc, "bench", str(library), "--entry", "train_step", "-i", f"target={target}", "--threads", str(threads), "--seconds", str(seconds), "--json"],
                         check=True, capture_output=True, text=True).stdout
    r = json.loads(out)
    return r["median_ns"] / 1e6, r["min_ns"] / 1e6


def torch_median(step, seconds):
    for _ in range(3):
        step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3, min(times) * 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fcc")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=list(NETS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"torch {torch.__version__.split('+')[0]}; milliseconds a step: median (minimum)")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in args.only:
            make, row, batch, classes, optimizer, torch_optimizer = NETS[name]
            torch.manual_seed(1)
            module = make()
            library, compile_seconds = train_library(args.fcc, folder, name, module, row, batch, classes, optimizer)
            module.train()
            x = torch.rand(batch, *row)
            y = torch.randint(0, classes, (batch,)) if classes else torch.rand(module(x).shape)
            np.save(folder / "target.npy", y.numpy())
            opt = torch_optimizer(module.parameters())
            forward = torch.compile(module) if args.compile else module

            def step(run):
                opt.zero_grad(set_to_none=True)
                (F.cross_entropy if classes else F.mse_loss)(run(x), y).backward()
                opt.step()

            for threads in args.threads:
                torch.set_num_threads(threads)
                ours, theirs = [], []
                for _ in range(args.rounds):
                    ours.append(fcc_median(args.fcc, library, folder / "target.npy", threads, args.seconds / args.rounds))
                    candidates = [torch_median(lambda: step(module), args.seconds / args.rounds)]
                    if args.compile:
                        candidates.append(torch_median(lambda: step(forward), args.seconds / args.rounds))
                    theirs.append(min(candidates))
                a, b = statistics.median(m for m, _ in ours), statistics.median(m for m, _ in theirs)
                print(f"{name:14} T{threads}  fcc {a:9.3f} ({min(m for _, m in ours):9.3f})   torch {b:9.3f} ({min(m for _, m in theirs):9.3f})   ratio {b / a:6.2f}   "
                      f"fcc train took {compile_seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()
