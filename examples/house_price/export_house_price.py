"""Makes a synthetic housing market, trains the price model of this example on it and exports the model.

    python export_house_price.py

Run it in a virtual environment with torch, onnx and onnxscript. The market is the formula in price(); the C++
program holds the same formula to compare with.
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from exporting import export  # noqa: E402

# area [m2], rooms, bathrooms, age [years], distance to the centre [km], floor, garden [0/1], energy class [0..6]
LOW = torch.tensor([30.0, 1, 1, 0, 0.5, 0, 0, 0])
HIGH = torch.tensor([250.0, 8, 4, 100, 30, 10, 1, 6])
WHOLE = torch.tensor([False, True, True, False, False, True, True, True])


def houses(count):
    x = LOW + (HIGH - LOW) * torch.rand(count, 8)
    return torch.where(WHOLE, x.round(), x)


def price(x):
    """Thousands."""
    area, rooms, bathrooms, age, distance, floor, garden, energy = x.unbind(1)
    per_metre = 1.2 + 4.0 * torch.exp(-distance / 8.0)
    comfort = 1.0 + 0.03 * rooms + 0.05 * (bathrooms - 1) - 0.03 * energy + 0.01 * floor
    wear = 0.7 + 0.3 * torch.exp(-age / 40.0)
    return area * per_metre * comfort * wear + garden * (20.0 + 2.0 * distance)


class HousePrice(nn.Module):
    """The scaling is part of the model, so that a program hands in plain metres and years."""

    def __init__(self, x, y):
        super().__init__()
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("deviation", x.std(0))
        self.register_buffer("price_mean", y.mean())
        self.register_buffer("price_deviation", y.std())
        self.layers = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.layers((x - self.mean) / self.deviation) * self.price_deviation + self.price_mean


def main():
    torch.manual_seed(1)
    x = houses(30000)
    y = price(x)[:, None]
    model = HousePrice(x, y)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    for _ in range(60):
        for rows in torch.randperm(len(x)).split(128):
            loss = ((model(x[rows]) - y[rows]) / model.price_deviation).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        test = houses(2000)
        error = (model(test)[:, 0] - price(test)).abs() / price(test)
    print(f"mean error on 2,000 new houses: {100 * error.mean():.2f} %")
    export(model, houses(2), str(HERE / "house_price.onnx"), "house", "price")


if __name__ == "__main__":
    main()
