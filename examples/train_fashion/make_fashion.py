"""Fashion-MNIST: two convolutions, dropout, SGD with momentum, 3 epochs of 60,000 images.

    python make_fashion.py [--seed N]      the data is Debian's package dataset-fashion-mnist

The network is that of ../digits/digits_cnn.onnx; fcc train forgets its weights (--init default).
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "train_digits"))
import training  # noqa: E402
from make_digits import load  # noqa: E402

DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")


def build():
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))


def main():
    torch.manual_seed(training.seed())
    model = build()
    train, test = [load(DATA / f"{s}-images-idx3-ubyte.gz", DATA / f"{s}-labels-idx1-ubyte.gz") for s in ("train", "t10k")]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    training.curve(model, optimizer, F.cross_entropy, train, test, 3, 64, judge=training.accuracy)


if __name__ == "__main__":
    main()
