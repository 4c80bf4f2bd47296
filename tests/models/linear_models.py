"""Every usual way of writing a fully connected layer in PyTorch, for make_models.py.

Each becomes other operators in ONNX: Gemm with and without transposed weights, MatMul + Add, a Transpose in between,
weights that are graph constants or shared. A compiler must see the same product in all of them.
"""

import torch
import torch.nn.functional as F
from torch import nn

import torch_models as tm


class Own(nn.Module):
    """A module made of some parameters and a function of (self, x)."""

    def __init__(self, function, **shapes):
        super().__init__()
        self.function = function
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(*shape) * shape[-1] ** -0.5))

    def forward(self, x):
        return self.function(self, x)


class Twice(nn.Module):
    """One weight, used by two layers."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(12, 12), nn.Linear(12, 5)

    def forward(self, x):
        return self.head(torch.relu(self.layer(torch.relu(self.layer(x)))))


class TiedBackwards(nn.Module):
    """One weight, used as it is and transposed, as in an autoencoder with tied weights."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 7)

    def forward(self, x):
        return F.linear(torch.sigmoid(self.layer(x)), self.layer.weight.t())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, x):
        x = x + torch.relu(self.first(x))
        return self.head(torch.cat([x, torch.tanh(self.second(x))], 1)[:, 6:18])


def stack(*activations):
    layers, width = [], 12
    for activation, out in zip(activations, (20, 33, 17, 9)):
        layers += [nn.Linear(width, out), activation]
        width = out
    return nn.Sequential(*layers, nn.Linear(width, 4))


MODELS = {
    "one": lambda: nn.Linear(12, 5),
    "no_bias": lambda: nn.Linear(12, 5, bias=False),
    "one_output": lambda: nn.Linear(12, 1),
    "wide": lambda: nn.Sequential(nn.Linear(12, 70), nn.ReLU(), nn.Linear(70, 33)),
    "relu_stack": lambda: stack(nn.ReLU(), nn.ReLU(), nn.ReLU()),
    "sigmoid_stack": lambda: stack(nn.Sigmoid(), nn.Sigmoid()),
    "tanh_stack": lambda: stack(nn.Tanh(), nn.Tanh()),
    "leaky_stack": lambda: stack(nn.LeakyReLU(0.1), nn.LeakyReLU(0.1)),
    "mixed_stack": lambda: stack(nn.GELU(), nn.SiLU(), nn.ELU(), nn.Hardswish()),
    "no_bias_stack": lambda: nn.Sequential(nn.Linear(12, 20, bias=False), nn.ReLU(), nn.Linear(20, 4, bias=False)),
    "dropout": lambda: nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Dropout(0.2), nn.Linear(20, 4)),
    "batch_norm": lambda: nn.Sequential(nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 4)),
    "batch_norm_after": lambda: nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.BatchNorm1d(20), nn.Linear(20, 4)),
    "layer_norm": lambda: nn.Sequential(nn.Linear(12, 20), nn.LayerNorm(20), nn.ReLU(), nn.Linear(20, 4)),
    "softmax": lambda: nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 6), nn.Softmax(dim=1)),
    "log_softmax": lambda: nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 6), nn.LogSoftmax(dim=1)),
    "functional": lambda: Own(lambda m, x: F.relu(F.linear(x, m.w, m.b[0])), w=(5, 12), b=(1, 5)),
    "matmul_t": lambda: Own(lambda m, x: x @ m.w.t() + m.b[0], w=(5, 12), b=(1, 5)),
    "matmul": lambda: Own(lambda m, x: torch.matmul(x, m.w) + m.b[0], w=(12, 5), b=(1, 5)),
    "mm_bias_first": lambda: Own(lambda m, x: m.b[0] + x.mm(m.w), w=(12, 5), b=(1, 5)),
    "addmm": lambda: Own(lambda m, x: torch.addmm(m.b[0], x, m.w, beta=0.5, alpha=2.0), w=(12, 5), b=(1, 5)),
    "weight_first": lambda: Own(lambda m, x: (m.w @ x.t()).t() + m.b, w=(5, 12), b=(1, 5)),
    "einsum": lambda: Own(lambda m, x: torch.einsum("ni,oi->no", x, m.w) + m.b[0], w=(5, 12), b=(1, 5)),
    "bilinear": lambda: Own(lambda m, x: ((x @ m.w) * x).sum(1, keepdim=True), w=(12, 12)),
    "shared": Twice,
    "tied": TiedBackwards,
    "residual": Residual,
}  # fmt: skip
# Layers over the last of three dimensions, as in a sequence.
SEQUENCE_MODELS = {
    "sequence": lambda: nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 4)),
    "sequence_matmul_t": lambda: Own(lambda m, x: x @ m.w.t() + m.b[0], w=(5, 12), b=(1, 5)),
}


def entries():
    """(entry, export kinds to commit): by turns, so that all four kinds are there and each model is there twice."""
    pairs = [["old_static", "new_open"], ["old_open", "new_static"]]
    for index, (name, build) in enumerate(MODELS.items()):
        yield tm.rows_entry(f"linear_{name}", build, 12), pairs[index % 2]
    for index, (name, build) in enumerate(SEQUENCE_MODELS.items()):
        yield tm.rows_entry(f"linear_{name}", build, 3, 12), pairs[index % 2]
