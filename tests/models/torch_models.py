"""PyTorch models and export helpers shared by make_models.py (small fixtures) and ../compare/export_zoo.py (full size).

Needs a virtual environment with torch, torchvision, onnx and onnxscript. Nothing here runs in CI.
"""

import contextlib
import dataclasses
import io
import math
import os
import warnings
from typing import Callable

import torch
import torch.nn.functional as F
from torch import nn

torch.backends.mha.set_fastpath_enabled(False)  # PyTorch's fused attention for inference has no ONNX form

KINDS = ("old_static", "old_open", "new_static", "new_open")


@dataclasses.dataclass
class Entry:
    """One exportable model: how to build it, what to feed it, and which of its dimensions may stay open."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], dict]  # batch -> {input name: tensor}, in the order of forward()
    open_dims: dict  # input name -> {axis: symbol}
    outputs: tuple = ("y",)
    static_batch: int = 1
    old_open_dims: dict | None = None  # where the old exporter keeps fewer of them open


def image_entry(name, build, size, channels=3):
    return Entry(name, build, lambda n: {"x": torch.randn(n, channels, size, size)}, {"x": {0: "N"}})


def rows_entry(name, build, *shape, input_name="x"):
    return Entry(name, build, lambda n: {input_name: torch.randn(n, *shape)}, {input_name: {0: "N"}})


def token_entry(name, build, vocabulary, sequence, mask=False):
    def inputs(n):
        tensors = {"input_ids": torch.randint(0, vocabulary, (n, sequence))}
        if mask:
            lengths = torch.randint(sequence // 2, sequence + 1, (n, 1))
            tensors["attention_mask"] = (torch.arange(sequence)[None, :] < lengths).long()
        return tensors

    dims = {"input_ids": {0: "N", 1: "S"}}
    if mask:
        dims["attention_mask"] = {0: "N", 1: "S"}
    return Entry(name, build, inputs, dims)


# --- weights -----------------------------------------------------------------------------------------------------

_LINEAR = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d)
# Parameters that start so near to zero that a network without them gives the same output.
_FAINT = ("layer_scale", "class_token", "pos_embedding", "relative_position_bias_table")


def _rescale(module, args, output):
    """Scales the layer so that its output has a deviation of one, and gives it a bias that matters."""
    if module in _rescale.seen:
        return None
    _rescale.seen.add(module)
    if not module.weight.any():  # torchvision starts the head of its ViT at zero
        nn.init.kaiming_uniform_(module.weight)
        output = module.forward(*args)
    spread = output.std() if output.numel() > 1 else output.abs().max()
    factor = 1.0 / spread.clamp(min=1e-3)
    module.weight.mul_(factor)
    if module.bias is not None:
        module.bias.normal_(0, 0.1)
    return module.forward(*args)


_rescale.seen = set()


def _settle_batch_norm(module, args, output):
    """Running statistics near those of the data but not equal to them, so a dropped or doubled one is visible."""
    x = args[0]
    axes = [0] + list(range(2, x.dim()))
    mean, var = x.mean(axes), x.var(axes, unbiased=False)
    noise = torch.rand_like(mean)
    module.running_mean.copy_(mean + 0.2 * var.sqrt() * torch.randn_like(mean))
    module.running_var.copy_((var + 0.05) * (0.7 + 0.6 * noise))
    module.weight.uniform_(0.6, 1.4)
    module.bias.normal_(0, 0.2)
    return F.batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias, False, 0.0, module.eps)


@torch.no_grad()
def randomise(model, example):
    """Random weights whose outputs neither vanish nor explode: one pass over an example, layer after layer."""
    model.eval()
    _rescale.seen.clear()
    for name, parameter in model.named_parameters():
        if name.endswith(_FAINT):
            parameter.uniform_(0.2, 0.8)
    hooks = []
    for module in model.modules():
        if isinstance(module, _LINEAR) and not isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
            hooks.append(module.register_forward_hook(_rescale))
        elif isinstance(module, _BATCH_NORM):
            hooks.append(module.register_forward_hook(_settle_batch_norm))
        elif isinstance(module, nn.LayerNorm):
            module.weight.uniform_(0.6, 1.4)
            module.bias.normal_(0, 0.2)
    model(*example.values())
    for hook in hooks:
        hook.remove()
    return model


@torch.no_grad()
def assert_alive(model, entry):
    """An all-zero, constant or tiny output would let a broken compiler pass."""
    first, second = (_first(model(*entry.inputs(2).values())) for _ in range(2))
    scale = first.abs().max().item()
    change = (first - second).abs().max().item()
    assert torch.isfinite(first).all(), entry.name
    assert 0.05 < scale < 1e4, f"{entry.name}: output magnitude {scale}"
    assert change > 0.01 * scale, f"{entry.name}: output does not depend on the input ({change} of {scale})"
    return scale, change


def _first(result):
    return result if isinstance(result, torch.Tensor) else result[0]


# --- export ------------------------------------------------------------------------------------------------------


def export(model, entry, kind, path):
    """Writes one .onnx. `old` is the TorchScript exporter at opset 17, `new` the default exporter and opset."""
    exporter, shape = kind.split("_")
    is_open = shape == "open"
    example = entry.inputs(3 if is_open else entry.static_batch)  # one would fix an open batch at one
    names = dict(input_names=list(example), output_names=list(entry.outputs))
    model.eval()
    temporary = f"{path}.part"
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if exporter == "old":
            axes = (entry.old_open_dims or entry.open_dims) if is_open else None
            torch.onnx.export(model, tuple(example.values()), temporary, dynamo=False, opset_version=17,
                              dynamic_axes=axes, **names)
        else:
            symbols = {}
            shapes = tuple(_dynamic(entry.open_dims.get(name, {}), symbols) for name in example) if is_open else None
            torch.onnx.export(model, tuple(example.values()), temporary, dynamo=True, dynamic_shapes=shapes,
                              external_data=False, verbose=False, **names)
    os.replace(temporary, path)


def _dynamic(dims, symbols):
    return {axis: symbols.setdefault(symbol, torch.export.Dim(symbol, min=1)) for axis, symbol in dims.items()}


# --- models of our own -------------------------------------------------------------------------------------------


class SelfAttention(nn.Module):
    def __init__(self, width, heads, causal=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask=None):
        n, s, width = x.shape
        split = lambda t: t.view(n, s, self.heads, width // self.heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(self.query(x)), split(self.key(x)), split(self.value(x)),
                                           attn_mask=mask, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, s, width))


class BertLayer(nn.Module):
    """Post-norm encoder layer, as in BERT."""

    def __init__(self, width, heads, inner):
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x, mask):
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, vocabulary=30522, positions=512, width=768, heads=12, inner=3072, layers=12):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.kinds, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(width, heads, inner) for _ in range(layers))
        self.pooler = nn.Linear(width, width)

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.words(input_ids) + self.positions(places) + self.kinds(torch.zeros_like(input_ids)))
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.layers:
            x = layer(x, mask)
        return x, torch.tanh(self.pooler(x[:, 0]))


class GptLayer(nn.Module):
    """Pre-norm decoder layer with a causal mask, as in GPT-2."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, causal=True)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocabulary=65, positions=256, width=384, heads=6, layers=6):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.layers = nn.ModuleList(GptLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, input_ids):
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.words(input_ids) + self.positions(places)
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), self.words.weight) / math.sqrt(self.words.weight.shape[1])


def encoder(width, heads, inner, layers):
    """PyTorch's own encoder."""
    layer = nn.TransformerEncoderLayer(width, heads, inner, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class UNet(nn.Module):
    def __init__(self, width=32, depth=4, inputs=3, classes=2):
        super().__init__()
        widths = [width << i for i in range(depth + 1)]
        self.down = nn.ModuleList(self._pair(a, b) for a, b in zip([inputs] + widths, widths))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(self._pair(2 * a, a) for a in widths[:-1])
        self.head = nn.Conv2d(width, classes, 1)

    @staticmethod
    def _pair(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
                             nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    def forward(self, x):
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for rise, block, skip in reversed(list(zip(self.rise, self.up, skips))):
            x = block(torch.cat([skip, rise(x)], 1))
        return self.head(x)


class Recurrent(nn.Module):
    """Recurrent layers over a sequence of rows, then a classifier on the last step."""

    def __init__(self, kind, features, hidden, layers=1, bidirectional=False, classes=10):
        super().__init__()
        self.cell = kind(features, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), classes)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


def mlp(*widths, activation=nn.ReLU):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


def digit_cnn():
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))


def orientation_net(divide=1):
    widths = [1] + [c // divide for c in (32, 64, 128, 128, 128)]
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 225, 64), nn.ReLU(), nn.Linear(64, 2))
