"""Fine-tuning: a MobileNetV2 that knows some patterns learns others. Its body is frozen, only a new head is trained.

    python make_mobilenet.py --train [--seed N]  trains the head in PyTorch, from the weights of mobilenet.onnx

How that file was made: its body learned six other patterns, by fcc.

    python make_mobilenet.py --body DIR          writes body.onnx, with a head for the six, and 4,096 images of them
    fcc train DIR/body.onnx -o DIR/body.so --loss cross_entropy --optimizer 'adamw(weight_decay=0.02)'
    fcc fit DIR/body.so --data DIR/images.npy --target DIR/labels.npy --val-split 0.06 --epochs 8 --batch-size 32 \
        --schedule 'onecycle(epochs=8, max_lr=0.01)' -o DIR/trained.onnx
    python make_mobilenet.py --head DIR          writes mobilenet.onnx from DIR/trained.onnx, with a new head

Images of 96 x 96, drawn by draw() and by the program: patterns of any angle, width and place, in two colours, with
noise. The network is torchvision's with a width of 0.1, so that its file is small.
"""

import pathlib
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn
from torchvision.models import MobileNetV2

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import training  # noqa: E402

SIZE = 96

# Of a pattern: phases a, b along its two axes, r and t of polar coordinates; bright where true.
KNOWN = [
    lambda a, b, r, t: torch.sin(a) > 0,  # stripes
    lambda a, b, r, t: torch.sin(a) * torch.sin(b) > 0,  # a chess board
    lambda a, b, r, t: torch.sin(a) + torch.sin(b) > 0.9,  # dots
    lambda a, b, r, t: torch.sin(r) > 0,  # rings
    lambda a, b, r, t: torch.maximum(torch.sin(a), torch.sin(b)) > 0.8,  # a grid
    lambda a, b, r, t: torch.sin(a) > 0.8,  # lines
]
NEW = [
    lambda a, b, r, t: torch.sin(a + 2 * torch.sin(b)) > 0,  # waves
    lambda a, b, r, t: torch.minimum(torch.sin(a), torch.sin(b)) > 0,  # squares
    lambda a, b, r, t: torch.sin(10 * t) > 0,  # spokes
    lambda a, b, r, t: torch.sin(r + 2 * t) > 0.3,  # spirals
]


def build(classes=len(NEW)):
    model = MobileNetV2(num_classes=classes, width_mult=0.1)
    model.classifier = nn.Linear(model.last_channel, classes)
    return model


def draw(count, patterns=None):
    """Images [count,3,96,96] and the numbers of their patterns."""
    patterns = patterns or NEW
    labels = torch.randint(0, len(patterns), (count,))
    angle, period = 2 * torch.pi * torch.rand(count), 8 + 8 * torch.rand(count)
    centre = SIZE * torch.rand(count, 2)
    ground, colour = 0.4 * torch.rand(count, 3), 0.6 + 0.4 * torch.rand(count, 3)
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    images = 0.05 * torch.randn(count, 3, SIZE, SIZE)
    for i in range(count):
        dx, dy = (2 * torch.pi / period[i] * (p - c) for p, c in zip((x, y), centre[i]))
        c, s = torch.cos(angle[i]), torch.sin(angle[i])
        a, b = dx * c + dy * s, dy * c - dx * s
        bright = patterns[labels[i]](a, b, a.hypot(b), torch.atan2(b, a)).float()
        images[i] += ground[i, :, None, None] * (1 - bright) + colour[i, :, None, None] * bright
    return images, labels


def load(model, path):
    """The weights of an exported network: its initializers have the names of the state_dict."""
    weights = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in onnx.load(path).graph.initializer}
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert all(k.endswith("num_batches_tracked") for k in missing), missing
    return model


def freeze(model):
    """The body keeps its weights and the statistics of its norms."""
    for p in model.features.parameters():
        p.requires_grad = False
    model.train = lambda mode=True: nn.Module.train(model, False)
    return model


def write(model, folder, name):
    training.write(model, torch.rand(2, 3, SIZE, SIZE), folder / "script", name, "image", "scores")
    slim = onnx.load(folder / name)
    del slim.graph.value_info[:]
    for node in slim.graph.node:
        del node.metadata_props[:]  # names of modules and classes: more bytes than the weights have
    onnx.save(slim, folder / name)


def write_body(folder):
    images, labels = draw(4096, KNOWN)
    np.save(folder / "images.npy", images.numpy())
    np.save(folder / "labels.npy", labels.numpy())
    write(build(len(KNOWN)), folder, "body.onnx")


def write_head(folder):
    model = load(build(len(KNOWN)), folder / "trained.onnx")
    model.classifier = nn.Linear(model.last_channel, len(NEW))
    write(model, HERE, "mobilenet.onnx")


def main():
    torch.manual_seed(training.seed())
    for option, write_it in (("--body", write_body), ("--head", write_head)):
        if option in sys.argv:
            return write_it(pathlib.Path(sys.argv[sys.argv.index(option) + 1]))
    model = freeze(load(build(), HERE / "mobilenet.onnx"))
    optimizer = torch.optim.Adam(model.classifier.parameters(), lr=3e-3)
    training.curve(model, optimizer, F.cross_entropy, draw(1024), draw(512), 5, 32, judge=training.accuracy)


if __name__ == "__main__":
    main()
