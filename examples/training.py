"""What the training examples share: a fresh model exported for fcc, and PyTorch's own curve to compare with.

Each make_*.py has `build()` and the data of its example:

    python make_house_price.py             writes the .onnx with the weights PyTorch starts from
    python make_house_price.py --train     trains in PyTorch, and prints a line an epoch
"""

import pathlib
import sys

import torch

from exporting import export


def parameters_with_decay(model, decay):
    """Weights of matrices and kernels decay; biases and scales of norms do not."""
    some = [p for p in model.parameters() if p.dim() > 1]
    none = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": some, "weight_decay": decay}, {"params": none, "weight_decay": 0.0}]


def curve(model, optimizer, loss_of, train, test, epochs, batch, schedule=None, judge=None):
    """train and test: (inputs, targets). Prints loss, test loss and what `judge` says, an epoch a line."""
    x, y = train
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            loss = loss_of(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            out = torch.cat([model(part) for part in test[0].split(500)])
        line = f"epoch {epoch + 1}/{epochs}  loss {total / len(x):.4f}  val loss {loss_of(out, test[1]).item():.4f}"
        print(line + (f"  {judge(out, test[1])}" if judge else ""), flush=True)


def accuracy(out, labels):
    return f"val accuracy {100 * (out.argmax(1) == labels).float().mean().item():.2f} %"


def asked_to_train():
    return "--train" in sys.argv[1:]


def seed():
    return int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 1


def write(model, example, script, name, inputs, outputs):
    export(model, example, str(pathlib.Path(script).resolve().parent / name), inputs, outputs, optimize=False)
