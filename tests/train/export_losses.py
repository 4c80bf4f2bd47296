#!/usr/bin/env python3
"""Writes losses.json: PyTorch's losses and their gradients in float64, for tests/unit/train/loss_test.cc.

    python tests/train/export_losses.py > tests/train/losses.json
"""
import json
import sys

import torch
import torch.nn.functional as F

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)


def rand(*shape):
    return torch.randn(*shape)


X = rand(5, 4)                                     # scores of 5 rows, 4 classes
L = torch.tensor([0, 3, 1, 1, 2])
L_SOME = torch.tensor([0, -100, 1, 3, -100])       # two rows ignored
X3, L3 = rand(2, 3, 2, 2), torch.tensor([[[0, 2], [1, 1]], [[2, 2], [0, 1]]])
P = F.softmax(rand(5, 4), dim=1)                   # distributions
W = torch.tensor([1.0, 0.5, 2.0, 0.25])
Y, T = rand(3, 4), rand(3, 4)
Y[0, 0] = T[0, 0]                                  # an error of exactly 0
S, B = torch.sigmoid(rand(3, 4)), (rand(3, 4) > 0).double()
LP, Q = F.log_softmax(rand(4, 3), dim=1), F.softmax(rand(4, 3), dim=1)
Q[1, 1] = 0


def cosine(y, t):
    return (1 - F.cosine_similarity(y, t, dim=-1)).mean()


CASES = [
    ("cross_entropy", X, L, F.cross_entropy),
    ("cross_entropy(reduction=sum)", X, L, lambda y, t: F.cross_entropy(y, t, reduction="sum")),
    ("cross_entropy", X, L_SOME, F.cross_entropy),
    ("cross_entropy(ignore_index=1)", X, L, lambda y, t: F.cross_entropy(y, t, ignore_index=1)),
    ("cross_entropy(weights=[1,0.5,2,0.25])", X, L_SOME, lambda y, t: F.cross_entropy(y, t, W)),
    ("cross_entropy(label_smoothing=0.2)", X, L_SOME, lambda y, t: F.cross_entropy(y, t, label_smoothing=0.2)),
    ("cross_entropy(label_smoothing=0.2,weights=[1,0.5,2,0.25])", X, L_SOME, lambda y, t: F.cross_entropy(y, t, W, label_smoothing=0.2)),
    ("cross_entropy(label_smoothing=0.1,reduction=sum)", X, L, lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1, reduction="sum")),
    ("cross_entropy", X3, L3, F.cross_entropy),
    ("cross_entropy(probabilities=true)", X, P, F.cross_entropy),
    ("cross_entropy(probabilities=true,label_smoothing=0.3,weights=[1,0.5,2,0.25])", X, P, lambda y, t: F.cross_entropy(y, t, W, label_smoothing=0.3)),
    ("nll", LP, torch.tensor([0, 2, 1, 1]), F.nll_loss),
    ("nll(weights=1 2 3)", LP, torch.tensor([0, 2, 1, 1]), lambda y, t: F.nll_loss(y, t, torch.tensor([1.0, 2.0, 3.0]))),
    ("mse", Y, T, F.mse_loss),
    ("mse(reduction=sum)", Y, T, lambda y, t: F.mse_loss(y, t, reduction="sum")),
    ("l1", Y, T, F.l1_loss),
    ("smooth_l1", Y, T, F.smooth_l1_loss),
    ("smooth_l1(beta=0.3)", Y, T, lambda y, t: F.smooth_l1_loss(y, t, beta=0.3)),
    ("huber", Y, T, F.huber_loss),
    ("huber(delta=0.4)", Y, T, lambda y, t: F.huber_loss(y, t, delta=0.4)),
    ("bce", S, B, F.binary_cross_entropy),
    ("bce_logits", Y, B, F.binary_cross_entropy_with_logits),
    ("bce_logits(pos_weight=3)", Y, B, lambda y, t: F.binary_cross_entropy_with_logits(y, t, pos_weight=torch.tensor(3.0))),
    ("kl_div", LP, Q, F.kl_div),
    ("kl_div(reduction=batchmean)", LP, Q, lambda y, t: F.kl_div(y, t, reduction="batchmean")),
    ("kl_div(log_target=true)", LP, F.log_softmax(rand(4, 3), dim=1), lambda y, t: F.kl_div(y, t, log_target=True)),
    ("cosine", Y, T, cosine),
]


def main():
    out = []
    for text, y, t, loss in CASES:
        y = y.clone().requires_grad_()
        value = loss(y, t)
        value.backward()
        out.append({"loss": text, "shape": list(y.shape), "y": y.detach().flatten().tolist(), "target_shape": list(t.shape), "target_is_label": t.dtype == torch.int64,
                    "target": t.flatten().tolist(), "value": value.item(), "gradient": y.grad.flatten().tolist()})
    json.dump({"made_by": f"torch {torch.__version__.split('+')[0]}", "cases": out}, sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
