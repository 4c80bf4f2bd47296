"""The digit classifier: 784-128-64-10, dropout 0.2, Adam 1e-3, batches of 64, 5 epochs on 8,000 digits.

    python make_digits.py [--seed N]

The network is that of ../digits/digits_mlp.onnx; fcc train forgets its weights (--init default).
"""

import gzip
import pathlib
import struct
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import training  # noqa: E402


def build():
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64), nn.ReLU(),
                         nn.Dropout(0.2), nn.Linear(64, 10))


def read_idx(path):
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    dims = struct.unpack_from(f">{data[3]}I", data, 4)
    return torch.frombuffer(bytearray(data[4 + 4 * len(dims):]), dtype=torch.uint8).reshape(dims)


def load(images, labels):
    x = read_idx(images)
    return x.reshape(len(x), -1).float() / 255.0, read_idx(labels).long()


def main():
    torch.manual_seed(training.seed())
    model = build()
    train = load(HERE / "train-images-idx3-ubyte.gz", HERE / "train-labels-idx1-ubyte.gz")
    test = load(HERE.parent / "digits/test-images-idx3-ubyte", HERE.parent / "digits/test-labels-idx1-ubyte")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    training.curve(model, optimizer, F.cross_entropy, train, test, 5, 64, judge=training.accuracy)


if __name__ == "__main__":
    main()
