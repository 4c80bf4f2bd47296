"""Trains the narrow orientation network of this example on wedges it draws itself, and exports it.

    python export_orientation.py            trains the narrow network: orientation_narrow.onnx (committed)
    python export_orientation.py --full DIR writes the full network with random weights (9 MB) to DIR, for timing

Run it in a virtual environment with torch, onnx and onnxscript.
"""

import argparse
import math
import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from exporting import export  # noqa: E402

SIZE = 480


def network(divide=1):
    """Five times convolution, ReLU and halving, then two layers to (cosine, sine); 2,231,234 parameters undivided."""
    channels = [1] + [c // divide for c in (32, 64, 128, 128, 128)]
    layers = []
    for a, b in zip(channels, channels[1:]):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    features = channels[-1] * (SIZE // 32) ** 2
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 64 // divide), nn.ReLU(),
                          nn.Linear(64 // divide, 2))
    for layer in model:  # PyTorch's own start lets the signal of a mostly black image die on the way
        if hasattr(layer, "weight"):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def draw(count):
    """White wedges on black, f32[count,1,480,480], and their directions; the C++ program draws the same."""
    angle, radius = 2 * math.pi * torch.rand(count), 90 + 90 * torch.rand(count)
    place = 190 + 100 * torch.rand(2, count)
    grid = torch.arange(SIZE, dtype=torch.float32)
    dx = (grid[None, None, :] - place[0, :, None, None]) / radius[:, None, None]
    dy = (grid[None, :, None] - place[1, :, None, None]) / radius[:, None, None]
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = dx * c + dy * s, dy * c - dx * s
    inside = (along.abs() <= 1) & (across.abs() <= 0.25 * (1 - along))
    return inside.float()[:, None], torch.stack([angle.cos(), angle.sin()], 1)


def degrees_between(a, b):
    turn = torch.atan2(a[:, 1], a[:, 0]) - torch.atan2(b[:, 1], b[:, 0])
    return torch.rad2deg(torch.atan2(turn.sin(), turn.cos()).abs())


def train(model, steps, batch=16):
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for step in range(steps):
        images, directions = draw(batch)
        loss = (model(images) - directions).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"  step {step}: loss {loss.item():.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--steps", type=int, default=700)
    options = parser.parse_args()
    torch.manual_seed(1)
    if options.full:
        export(network(), draw(2)[0], str(options.full / "orientation.onnx"), "image", "direction")
        return
    model = network(divide=8)
    train(model, options.steps)
    with torch.no_grad():
        images, directions = draw(200)
        print(f"mean error on 200 new images: {degrees_between(model(images), directions).mean():.2f} degrees")
    export(model, draw(2)[0], str(HERE / "orientation_narrow.onnx"), "image", "direction")


if __name__ == "__main__":
    main()
