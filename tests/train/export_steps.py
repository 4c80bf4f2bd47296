#!/usr/bin/env python3
"""Exports small networks and writes what 200 training steps of PyTorch make of them: steps.json, beside *.onnx.

    python tests/train/export_steps.py [NETWORK...]     default: all; others keep what steps.json says

For each network, in float64 and in float32: the loss of every step, and of every weight after the last step its norm and
a projection. `gap` is what PyTorch shows against itself between one and two threads, the yardstick of the tolerance.
Batches are a formula (see batch()), so that the test makes the same ones without a file.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
STEPS = 200


def sequence(n, offset):
    """Numbers of [-1, 1] that any language computes alike: 24 bits of a linear congruential sequence."""
    i = np.arange(n, dtype=np.uint64) + np.uint64(offset)
    x = (i * np.uint64(2862933555777941757) + np.uint64(3037000493))
    x ^= x >> np.uint64(29)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    return (x >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def mlp():
    return nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 10))


def norm(n):
    """With the momentum and epsilon that the file can say: ONNX keeps them in float32."""
    return nn.BatchNorm1d(n, eps=float(np.float32(1e-5)), momentum=1 - float(np.float32(0.9)))


def bn_mlp():
    # without biases before the norms: their gradient is 0 but for rounding, which Adam would magnify
    return nn.Sequential(nn.Linear(8, 32, bias=False), norm(32), nn.ReLU(), nn.Linear(32, 16, bias=False), norm(16), nn.ReLU(), nn.Linear(16, 1))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(16 * 9, 32), nn.ReLU(), nn.Linear(32, 10))


class Encoder(nn.Module):
    """One pre-norm transformer block over 6 positions, with its embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(5, 16)
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 4)

    def forward(self, x):
        h = self.embed(x)
        n = self.norm1(h)
        a = torch.softmax(self.q(n) @ self.k(n).transpose(1, 2) / 4.0, dim=-1) @ self.v(n)
        h = h + self.o(a)
        h = h + self.down(F.gelu(self.up(self.norm2(h))))
        return self.head(h.mean(dim=1))


class Recurrent(nn.Module):
    """A bidirectional LSTM over 6 steps whose outputs feed a GRU; its last state is classified."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(5, 7, batch_first=True, bidirectional=True), nn.GRU(14, 9, batch_first=True)
        self.head = nn.Linear(9, 4)

    def forward(self, x):
        return self.head(self.gru(self.lstm(x)[0])[1][0])


def labels(n, classes, offset):
    return ((sequence(n, offset) + 1) / 2 * classes).astype(np.int64).clip(0, classes - 1)


# name, module, input shape of one row, batch, classes (0: regression), loss for fcc, loss, optimizer for fcc, optimizer
NETS = [
    ("mlp", mlp, (20,), 16, 10, "cross_entropy", F.cross_entropy, "adam(lr=0.003)", lambda p: torch.optim.Adam(p, lr=0.003)),
    ("bn_mlp", bn_mlp, (8,), 12, 0, "mse", F.mse_loss, "adam(lr=0.003)", lambda p: torch.optim.Adam(p, lr=0.003)),
    ("cnn", cnn, (1, 12, 12), 6, 10, "cross_entropy(label_smoothing=0.1)", lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1),
     "sgd(lr=0.02,momentum=0.9)", lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)),
    ("encoder", Encoder, (6, 5), 8, 4, "cross_entropy", F.cross_entropy, "adamw(lr=0.003,weight_decay=0.05)",
     lambda p: torch.optim.AdamW(p, lr=0.003, weight_decay=0.05)),
    ("recurrent", Recurrent, (6, 5), 8, 4, "cross_entropy", F.cross_entropy, "adam(lr=0.01)", lambda p: torch.optim.Adam(p, lr=0.01)),
]


def batch(row, size, classes, step):
    x = sequence(size * int(np.prod(row)), 1000003 * (step % 8)).reshape(size, *row)
    t = labels(size, classes, 7919 * (step % 8)) if classes else np.sin(3 * x.reshape(size, -1)[:, :1]) + x.reshape(size, -1)[:, 1:2]
    return x, t


def run(module, weights, net, dtype, threads):
    name, _, row, size, classes, _, loss_of, _, optimizer_of = net
    torch.set_num_threads(threads)
    module = module.to(dtype)
    module.load_state_dict({k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()})
    module.train()
    optimizer = optimizer_of(module.parameters())
    losses = []
    for step in range(STEPS):
        x, t = batch(row, size, classes, step)
        x = torch.tensor(x, dtype=dtype)
        t = torch.tensor(t) if classes else torch.tensor(t, dtype=dtype)
        loss = loss_of(module(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    final = {k: v.double().flatten().numpy() for k, v in module.state_dict().items() if v.is_floating_point()}
    return losses, {k: [float(np.linalg.norm(v)), float(v @ np.cos(np.arange(len(v)) + 1.0))] for k, v in final.items()}


def export(module, row, path, dtype_batch=4):
    example = torch.zeros(dtype_batch, *row)
    torch.onnx.export(module.eval(), (example,), str(path), input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
                      opset_version=17, dynamo=False, training=torch.onnx.TrainingMode.TRAINING if any(isinstance(m, nn.BatchNorm1d) for m in module.modules()) else torch.onnx.TrainingMode.EVAL,
                      do_constant_folding=False)


def main():
    result = {"made_by": f"torch {torch.__version__.split('+')[0]}", "steps": STEPS, "nets": []}
    chosen = sys.argv[1:] or [net[0] for net in NETS]
    if sys.argv[1:]:
        result["nets"] = [n for n in json.loads((HERE / "steps.json").read_text())["nets"] if n["name"] not in chosen]
    for net in NETS:
        if net[0] not in chosen:
            continue
        name, make, row, size, classes, loss, _, optimizer, _ = net
        torch.manual_seed(11)
        module = make()
        weights = {k: v.clone() for k, v in module.state_dict().items()}
        export(make_like(make, weights), row, HERE / f"{name}.onnx")
        entry = {"name": name, "row": list(row), "batch": size, "classes": classes, "loss": loss, "optimizer": optimizer}
        for key, dtype in (("f64", torch.float64), ("f32", torch.float32)):
            losses, final = run(module, weights, net, dtype, 1)
            losses2, final2 = run(module, weights, net, dtype, 2)
            entry[key] = {"losses": losses, "weights": final, "loss_gap": max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(losses, losses2)),
                          "weight_gaps": {k: max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(final[k], final2[k])) for k in final}}
        result["nets"].append(entry)
        print(name, entry["f64"]["losses"][0], entry["f64"]["losses"][-1], entry["f64"]["loss_gap"], entry["f32"]["loss_gap"], max(entry["f32"]["weight_gaps"].values()))
    (HERE / "steps.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


def make_like(make, weights):
    module = make()
    module.load_state_dict(weights)
    return module


if __name__ == "__main__":
    main()
