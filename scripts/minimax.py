#!/usr/bin/env python3
"""Minimax polynomials for backend/llvm/math_tables.h, by Remez exchange in 60 digits (needs mpmath).

Each entry approximates g on [a, b] by a polynomial of the given degree so that max |(p - g) * weight| is least;
coefficients are rounded to the element type, where that gains by rounding the lowest and refitting the rest. Prints a C++ header; the comment beside a table is the error reached.
"""
import struct
import sys
import textwrap

from mpmath import mp, mpf, matrix, lu_solve, exp, log, log1p, sin, cos, erf, erfc, asin, atan, sqrt, pi, expm1

mp.dps = 60


def round_to(kind, v):
    if kind == "f32":
        return mpf(struct.unpack("f", struct.pack("f", float(v)))[0])
    return mpf(float(v))


def remez(g, weight, a, b, n):
    """The n coefficients of the best polynomial, lowest first, and the error level."""
    powers = range(n)
    xs = [(a + b) / 2 - (b - a) / 2 * mp.cos(pi * (i + mpf(1) / 2) / (n + 1)) for i in range(n + 1)]
    grid = [(a + b) / 2 - (b - a) / 2 * mp.cos(pi * i / (60 * n)) for i in range(60 * n + 1)]
    near_zero = (b - a) / 1000  # where weights vanish and Taylor terms rule anyway
    grid = [x for x in grid if abs(x) > near_zero]
    xs = [x if abs(x) > near_zero else 2 * near_zero for x in xs]
    gg, ww = [g(x) for x in grid], [weight(x) for x in grid]
    c = level = None
    for _ in range(12):
        A, rhs = matrix(n + 1, n + 1), matrix(n + 1, 1)
        for i, x in enumerate(xs):
            for j, p in enumerate(powers):
                A[i, j] = x**p
            A[i, n] = (-1) ** i / weight(x)
            rhs[i] = g(x)
        sol = lu_solve(A, rhs)
        c, level = [sol[j] for j in range(n)], abs(sol[n])
        err = [(sum(cj * x**p for cj, p in zip(c, powers)) - v) * w for x, v, w in zip(grid, gg, ww)]
        # Largest error of every run of equal sign.
        runs = []
        for i, e in enumerate(err):
            if runs and (err[runs[-1]] > 0) == (e > 0):
                if abs(e) > abs(err[runs[-1]]):
                    runs[-1] = i
            else:
                runs.append(i)
        while len(runs) > n + 1:
            if len(runs) == n + 2:
                runs.pop(0 if abs(err[runs[0]]) < abs(err[runs[-1]]) else -1)
            else:
                k = min(range(len(runs) - 1), key=lambda i: max(abs(err[runs[i]]), abs(err[runs[i + 1]])))
                del runs[k : k + 2]
        if len(runs) < n + 1:
            break
        worst = max(abs(err[i]) for i in runs)
        xs = [grid[i] for i in runs]
        if worst < level * mpf("1.001"):
            break
    return c, max(abs(e) for e in err)


def fit_step_by_step(kind, g, weight, a, b, degree):
    """Rounds the lowest coefficient, refits the rest, and so on."""
    fixed = []
    while len(fixed) <= degree:
        k = len(fixed)
        # What is left, divided by x^k: again a polynomial with a constant term, as the exchange theorem wants.
        rest = lambda x: (g(x) - sum(c * x**i for i, c in enumerate(fixed))) / x**k
        c, _ = remez(rest, lambda x: weight(x) * abs(x) ** k, a, b, degree + 1 - k)
        fixed.append(round_to(kind, c[0]))
    return fixed


def fit(kind, g, weight, a, b, degree):
    """Coefficients, lowest first, rounded to kind, and the error reached: the better of two ways to round."""
    a, b = mpf(a), mpf(b)
    at_once = [round_to(kind, c) for c in remez(g, weight, a, b, degree + 1)[0]]
    xs = [a + (b - a) * i / 400 for i in range(401)]
    tried = []
    for c in at_once, fit_step_by_step(kind, g, weight, a, b, degree):
        error = max(abs((sum(cj * x**j for j, cj in enumerate(c)) - g(x)) * weight(x)) for x in xs)
        tried.append((error, c))
    error, c = min(tried)
    return c, error


def series(f, terms):
    """f near 0 cancels: use its Taylor terms there."""
    return lambda x: f(x) if abs(x) > mpf("1e-6") else sum(t * x**i for i, t in enumerate(terms))


half = mpf(1) / 2
ln2half = log(2) / 2 * mpf("1.01")
exp_rest = series(lambda r: (exp(r) - 1 - r) / r**2, [half, mpf(1) / 6, mpf(1) / 24, mpf(1) / 120])
exp_weight = lambda r: max(abs(r), mpf("1e-9"))
log_rest = series(lambda f: (log1p(f) - f + f * f / 2) / f**3, [mpf(1) / 3, -mpf(1) / 4, mpf(1) / 5])
log_weight = lambda f: max(f * f, mpf("1e-12"))
# log((1+s)/(1-s)) = 2s + s^3 L(s^2)
atanh_rest = series(lambda z: (log((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z) - 2) / z, [mpf(2) / 3, mpf(2) / 5, mpf(2) / 7])
atanh_rest5 = series(lambda z: (log((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z) - 2 - 2 * z / 3) / z**2, [mpf(2) / 5, mpf(2) / 7, mpf(2) / 9])
sin_rest = series(lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, [-mpf(1) / 6, mpf(1) / 120, -mpf(1) / 5040])
cos_rest = series(lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, [mpf(1) / 24, -mpf(1) / 720, mpf(1) / 40320])
asin_rest = series(lambda z: (asin(sqrt(z)) / sqrt(z) - 1) / z, [mpf(1) / 6, mpf(3) / 40, mpf(15) / 336])
atan_rest = series(lambda z: (atan(sqrt(z)) / sqrt(z) - 1) / z, [-mpf(1) / 3, mpf(1) / 5, -mpf(1) / 7])
two_pi = 2 / sqrt(pi)
erf_rest = series(lambda z: erf(sqrt(z)) / sqrt(z) - 1, [two_pi - 1, -two_pi / 3, two_pi / 10])
erfc_rest = lambda t: (log(erfc(t)) + t) / t
erfc_weight = lambda t: t * erfc(t) / erf(t)
at = lambda z: z if z > 1e-12 else mpf("1e-12")
sixteenth_turn = (pi / 4) ** 2 * mpf("1.002")
log_s = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2 * mpf("1.002")
atan_z = (sqrt(2) - 1) ** 2 * mpf("1.002")

TABLES = [
    ("kExp32", "f32", exp_rest, exp_weight, -ln2half, ln2half, 4, "(e^r - 1 - r) / r^2, |r| <= ln2/2"),
    ("kLog32", "f32", log_rest, log_weight, -mpf(1) / 3, mpf(1) / 3, 7, "(log(1+f) - f + f^2/2) / f^3, |f| <= 1/3"),
    ("kSin32", "f32", sin_rest, at, 0, sixteenth_turn, 3, "(sin(r)/r - 1) / r^2 in r^2, |r| <= pi/4"),
    ("kCos32", "f32", cos_rest, lambda z: at(z) ** 2, 0, sixteenth_turn, 2, "(cos(r) - 1 + r^2/2) / r^4 in r^2"),
    ("kErf32", "f32", erf_rest, lambda z: mpf(1), 0, mpf("0.8607"), 5, "erf(x)/x - 1 in x^2, |x| <= 0.92773"),
    ("kErfc32", "f32", erfc_rest, erfc_weight, mpf("0.9277"), mpf(4), 6, "(log(erfc(t)) + t) / t, 0.92773 <= t <= 4"),
    ("kExp64", "f64", exp_rest, exp_weight, -ln2half, ln2half, 10, "(e^r - 1 - r) / r^2, |r| <= ln2/2"),
    ("kLog64", "f64", atanh_rest, at, 0, log_s, 6, "(log((1+s)/(1-s))/s - 2) / s^2 in s^2, 1+f = (1+s)/(1-s) in [1/sqrt2, sqrt2]"),
    ("kPowLog64", "f64", atanh_rest5, lambda z: at(z) ** 2, 0, log_s, 7, "(log((1+s)/(1-s))/s - 2 - 2s^2/3) / s^4 in s^2"),
    ("kSin64", "f64", sin_rest, at, 0, sixteenth_turn, 6, "(sin(r)/r - 1) / r^2 in r^2, |r| <= pi/4"),
    ("kCos64", "f64", cos_rest, lambda z: at(z) ** 2, 0, sixteenth_turn, 5, "(cos(r) - 1 + r^2/2) / r^4 in r^2"),
    ("kAsin64", "f64", asin_rest, at, 0, mpf("0.2502"), 12, "(asin(x)/x - 1) / x^2 in x^2, |x| <= 1/2"),
    ("kAtan64", "f64", atan_rest, at, 0, atan_z, 11, "(atan(x)/x - 1) / x^2 in x^2, |x| <= sqrt2 - 1"),
    ("kErf64", "f64", erf_rest, lambda z: mpf(1), 0, mpf("1.001"), 12, "erf(x)/x - 1 in x^2, |x| <= 1"),
    ("kErfc64", "f64", erfc_rest, erfc_weight, mpf("0.999"), mpf(6), 17, "(log(erfc(t)) + t) / t, 1 <= t <= 6"),
]


def main():
    only = set(sys.argv[1:])
    print("#pragma once")
    print("// Polynomial coefficients of backend/llvm/math*.cc, lowest degree first. Written by scripts/minimax.py, which")
    print("// states interval, weight and method; do not edit by hand. Lives apart from the formulas that use them.")
    print("\nnamespace fcc::math_tables {\n")
    for name, kind, g, weight, a, b, degree, what in TABLES:
        if only and name not in only:
            continue
        c, error = fit(kind, g, weight, a, b, degree)
        print(f"// {what}: error {float(error):.1e}")
        text = f"inline constexpr double {name}[] = {{" + ", ".join(float(v).hex() for v in c) + "};"
        print(textwrap.fill(text, 118, subsequent_indent="    ", break_long_words=False), flush=True)
    print("\n}  // namespace fcc::math_tables")


if __name__ == "__main__":
    main()
