"""Which way does it point? Five times convolution, ReLU and halving, then two layers: cosine and sine of the angle.

    python make_orientation.py [--train]

The images, 96 x 96, are drawn by the program and by draw() below: wedges at any place, of any size and angle.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import training  # noqa: E402

SIZE = 96


def build():
    channels, layers = [1, 8, 16, 32, 32, 32], []
    for before, after in zip(channels, channels[1:]):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 9, 64), nn.ReLU(), nn.Linear(64, 2))


def draw(count):
    """A wedge is bright where a point lies ahead of its tail, within a narrowing distance of its axis."""
    angle = 2 * torch.pi * torch.rand(count)
    length = SIZE * (0.25 + 0.15 * torch.rand(count))
    centre = SIZE * (0.35 + 0.3 * torch.rand(count, 2))
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    dx, dy = x[None] - centre[:, 0, None, None], y[None] - centre[:, 1, None, None]
    c, s, l = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None], length[:, None, None]
    along, across = dx * c + dy * s, (dy * c - dx * s).abs()
    inside = (along > -l / 2) & (along < l / 2) & (across < (l / 2 - along) * 0.4)
    image = inside.float() + 0.1 * torch.randn(count, SIZE, SIZE)
    return image[:, None], torch.stack([torch.cos(angle), torch.sin(angle)], 1)


def degrees(out, y):
    turn = torch.atan2(out[:, 1], out[:, 0]) - torch.atan2(y[:, 1], y[:, 0])
    turn = torch.remainder(turn + torch.pi, 2 * torch.pi) - torch.pi
    return f"off by {torch.rad2deg(turn.abs()).mean().item():.2f} degrees"


def main():
    torch.manual_seed(training.seed())
    model = build()
    if training.asked_to_train():
        train, test = draw(2048), draw(256)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        training.curve(model, optimizer, F.mse_loss, train, test, 6, 32, judge=degrees)
    else:
        training.write(model, torch.rand(2, 1, SIZE, SIZE), __file__, "orientation.onnx", "image", "direction")


if __name__ == "__main__":
    main()
