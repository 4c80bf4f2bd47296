"""A time series: an LSTM sees 40 values of a noisy sum of three sines and says the next one.

    python make_series.py [--train]

Mean squared error, Adam with a cosine schedule, gradients clipped. No model can be off by less than the noise.
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

WINDOW, NOISE = 40, 0.1


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, window):
        _, (last, _) = self.lstm(window)
        return self.head(last[0])


def build():
    return Series()


def windows(count, start):
    """Windows [count, 40, 1] of one series, a step apart, and the value after each [count, 1]."""
    t = start + torch.arange(count + WINDOW)
    series = torch.sin(t * (2 * math.pi / 25)) + 0.5 * torch.sin(t * (2 * math.pi / 61)) + 0.3 * torch.sin(t * (2 * math.pi / 7))
    series = series + NOISE * torch.randn(count + WINDOW)
    all_windows = series.unfold(0, WINDOW + 1, 1)
    return all_windows[:, :WINDOW, None].contiguous(), all_windows[:, WINDOW:].contiguous()


def main():
    torch.manual_seed(training.seed())
    model = build()
    if training.asked_to_train():
        train, test = windows(2000, 0), windows(500, 5000)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
        epochs, batch = 12, 64
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(2000 / batch))
        optimizer.register_step_pre_hook(lambda *_: nn.utils.clip_grad_norm_(model.parameters(), 1.0) and None)
        off = lambda out, y: f"off by {100 * F.mse_loss(out, y).sqrt().item() / NOISE:.0f} % of the noise"
        training.curve(model, optimizer, F.mse_loss, train, test, epochs, batch, schedule, off)
    else:
        training.write(model, windows(3, 0)[0], __file__, "series.onnx", "window", "next")


if __name__ == "__main__":
    main()
