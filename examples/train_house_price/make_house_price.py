"""House prices: 8-64-32-1, mean squared error, Adam with a cosine schedule, on a market that a formula makes.

    python make_house_price.py [--train]

Inputs and prices are standardised by the program; the error is given in thousands.
"""

import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import training  # noqa: E402

LOW = torch.tensor([30.0, 1, 1, 0, 0.5, 0, 0, 0])
HIGH = torch.tensor([250.0, 8, 4, 100, 30, 10, 1, 6])
WHOLE = torch.tensor([False, True, True, False, False, True, True, True])


def build():
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


def houses(count):
    x = LOW + (HIGH - LOW) * torch.rand(count, 8)
    return torch.where(WHOLE, x.round(), x)


def price(x):
    area, rooms, bathrooms, age, distance, floor, garden, energy = x.unbind(1)
    per_metre = 1.2 + 4.0 * torch.exp(-distance / 8.0)
    comfort = 1.0 + 0.03 * rooms + 0.05 * (bathrooms - 1) - 0.03 * energy + 0.01 * floor
    wear = 0.7 + 0.3 * torch.exp(-age / 40.0)
    return (area * per_metre * comfort * wear + garden * (20.0 + 2.0 * distance))[:, None]


def market():
    """Standardised training and test data, and the deviation of prices."""
    x, held = houses(8000), houses(2000)
    y, held_y = price(x), price(held)
    mean, deviation, y_mean, y_deviation = x.mean(0), x.std(0), y.mean(), y.std()
    scale = lambda a: (a - mean) / deviation
    return (scale(x), (y - y_mean) / y_deviation), (scale(held), (held_y - y_mean) / y_deviation), y_deviation.item()


def main():
    torch.manual_seed(training.seed())
    model = build()
    if training.asked_to_train():
        train, test, deviation = market()
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        epochs, batch = 20, 64
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(8000 / batch))
        off = lambda out, y: f"off by {deviation * (out - y).abs().mean().item():.2f} thousand"
        training.curve(model, optimizer, F.mse_loss, train, test, epochs, batch, schedule, off)
    else:
        training.write(model, torch.rand(2, 8), __file__, "house_price.onnx", "house", "price")


if __name__ == "__main__":
    main()
