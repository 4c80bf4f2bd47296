"""House prices again, with BatchNorm1d, Kaiming initialisation, and AdamW whose decay spares biases and norms.

    python make_batchnorm.py [--train]
"""

import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "train_house_price"))
import training  # noqa: E402
from make_house_price import market  # noqa: E402


def build():
    model = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.05),
                          nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.05), nn.Linear(32, 1))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return model


def main():
    torch.manual_seed(training.seed())
    model = build()
    if training.asked_to_train():
        train, test, deviation = market()
        optimizer = torch.optim.AdamW(training.parameters_with_decay(model, 0.01), lr=3e-3)
        epochs, batch = 20, 32
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(8000 / batch))
        off = lambda out, y: f"off by {deviation * (out - y).abs().mean().item():.2f} thousand"
        training.curve(model, optimizer, F.mse_loss, train, test, epochs, batch, schedule, off)
    else:
        training.write(model, torch.rand(2, 8), __file__, "batchnorm.onnx", "house", "price")


if __name__ == "__main__":
    main()
