"""A small character transformer that learns to add: "37+85=221" (the sum backwards, 122), a character at a time.

    python make_characters.py [--train]

Two layers of width 64 with four heads, layer norm before each, GELU; AdamW with warm-up, cosine and clipped gradients.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import training  # noqa: E402

SYMBOLS = "0123456789+="
LENGTH = 8  # characters seen: "37+85=22"; the model says what comes after each
WIDTH, HEADS = 64, 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.register_buffer("mask", torch.full((LENGTH, LENGTH), -1e9).triu(1))

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).reshape(-1, LENGTH, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + self.mask, 3)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(-1, LENGTH, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Characters(nn.Module):
    """Scores [N, symbols, positions], as cross-entropy takes them."""

    def __init__(self):
        super().__init__()
        self.symbol, self.position = nn.Embedding(len(SYMBOLS), WIDTH), nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(SYMBOLS))

    def forward(self, text):
        x = self.blocks(self.symbol(text) + self.position)
        return self.head(self.norm(x)).transpose(1, 2)


def build():
    return Characters()


def sums(count):
    """Text [count, 8] and the next characters; those before the "=" cannot be known: -100, not judged."""
    a, b = torch.randint(0, 100, (count,)), torch.randint(0, 100, (count,))
    c = a + b
    columns = [a // 10, a % 10, torch.full_like(a, 10), b // 10, b % 10, torch.full_like(a, 11), c % 10, c // 10 % 10, c // 100]
    text = torch.stack(columns, 1)
    target = text[:, 1:].clone()
    target[:, :5] = -100
    return text[:, :LENGTH], target


def main():
    torch.manual_seed(training.seed())
    model = build()
    if training.asked_to_train():
        train, test = sums(8000), sums(1000)
        optimizer = torch.optim.AdamW(training.parameters_with_decay(model, 0.01), lr=3e-3)
        steps = 10 * 125
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimizer, [torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 100),
                        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - 100)], [100])
        optimizer.register_step_pre_hook(lambda *_: nn.utils.clip_grad_norm_(model.parameters(), 1.0) and None)
        right = lambda out, y: f"sums right {100 * ((out.argmax(1) == y) | (y < 0)).all(1).float().mean().item():.1f} %"
        training.curve(model, optimizer, F.cross_entropy, train, test, 10, 64, schedule, right)
    else:
        training.write(model, sums(2)[0], __file__, "characters.onnx", "text", "scores")


if __name__ == "__main__":
    main()
