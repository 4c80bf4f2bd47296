#!/usr/bin/env python3
"""The polynomials of Gelu in ir/ops/activation.cc (needs numpy).

gelu(x) = x (1/2 + x P(2 x^2/limit^2 - 1)) for |x| <= limit, by reweighted least squares at Chebyshev nodes until the
largest error of the result, relative to the larger of |x| and 1, is least. Prints limit, coefficients (lowest first) and the
error of an evaluation in float32.
"""
import math

import numpy as np
from numpy.polynomial import chebyshev

DEGREE = 14
FORMS = {
    "none": (5.4, lambda x: 0.5 * np.vectorize(math.erf)(x / np.sqrt(2))),
    "tanh": (5.0, lambda x: 0.5 * np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


def fit(limit, half):
    u = (np.cos(np.pi * (np.arange(2000) + 0.5) / 2000) + 1) / 2 * limit**2
    x, v = np.sqrt(u), 2 * u / limit**2 - 1
    wanted, base, weight = half(x) / x, x * np.maximum(x, 1), np.ones_like(x)
    for step in range(60):
        c = chebyshev.chebfit(v, wanted, DEGREE, w=base * np.sqrt(weight))
        error = np.abs((chebyshev.chebval(v, c) - wanted) * base)
        if step < 50:
            weight *= np.sqrt(error / error.mean())
        weight /= weight.mean()
    return chebyshev.cheb2poly(c)


def largest_error(limit, half, coefficients):
    x = np.linspace(-8, 8, 100001).astype("f4")
    inside = np.clip(x, np.float32(-limit), np.float32(limit)).astype("f8")
    v = ((inside * inside).astype("f4").astype("f8") * np.float32(2 / limit**2) - 1).astype("f4").astype("f8")
    p = np.full_like(v, np.float32(coefficients[-1]))
    for k in coefficients[-2::-1]:
        p = (p * v + np.float32(k)).astype("f4").astype("f8")
    y = (x * (p * inside + 0.5).astype("f4").astype("f8")).astype("f4") * (x >= -limit)
    return (np.abs(y - x.astype("f8") * (0.5 + half(x.astype("f8")))) / np.maximum(np.abs(x), 1)).max()


for name, (limit, half) in FORMS.items():
    c = fit(limit, half)
    print(name, limit, [float(f"{k:.9g}") for k in c], f"error {largest_error(limit, half, c):.1e}")
