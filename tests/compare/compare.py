"""Compares compiled models with onnxruntime on random inputs, at several sizes of every open dimension.

    python compare.py MODEL.onnx ... [--size N=1,3,8] [--threads 1,2] [--tolerance 1e-4] [--fcc PATH]

Run it in a virtual environment with numpy, onnx and onnxruntime. Prints a Markdown table: the worst absolute error,
and the worst error relative to the largest magnitude of its output (an element near zero says nothing about the sum
it came from). Fails when a model is over the tolerance, answers in another shape or type, does not compile, gives
other bits at another number of threads, or when its outputs vanish, which would let anything pass.
"""

import argparse
import pathlib
import re
import sys
import tempfile

import numpy as np
import onnxruntime

import harness


def default_sizes(rank, axis):
    if axis == 0:
        return [1, 3, 8]  # a batch
    return [64, 96] if rank == 4 else [5, 37, 64]  # pixels, or steps of a sequence


def size_choices(inputs, given):
    """Every open dimension at every size, the others at their first; then all at their last."""
    lists = {s: given.get(s, default_sizes(*place)) for s, place in harness.symbols_of(inputs).items()}
    choices = [{s: sizes[0] for s, sizes in lists.items()}]
    for symbol, sizes in lists.items():
        choices += [{**choices[0], symbol: size} for size in sizes[1:]]
    choices.append({s: sizes[-1] for s, sizes in lists.items()})
    return [dict(c) for c in dict.fromkeys(tuple(c.items()) for c in choices)]


def run_fcc(fcc, library, arrays, outputs, threads, timeout):
    with tempfile.TemporaryDirectory() as folder:
        arguments = harness.save_inputs(arrays, folder)
        result = pathlib.Path(folder) / "out"
        harness.call([fcc, "run", library, *arguments, "-o", result, "--threads", threads], timeout)
        return [np.load(result / (re.sub(r"[^A-Za-z0-9_.-]", "_", name) + ".npy")) for name in outputs]


def errors(got, want, name):
    """(absolute, relative to the largest magnitude) of one output."""
    if got.shape != want.shape or got.dtype != want.dtype:
        raise harness.FccError(f"{name} is {got.dtype}{list(got.shape)}, not {want.dtype}{list(want.shape)}")
    if not np.issubdtype(want.dtype, np.floating):
        different = float((got != want).sum())
        return different, different
    scale = np.abs(want).max(initial=0)
    if not 1e-4 < scale < 1e8 or not np.isfinite(want).all():
        raise harness.FccError(f"{name} is no test: magnitude {scale}")
    absolute = np.abs(got.astype(np.float64) - want).max()
    if not np.isfinite(absolute):
        raise harness.FccError(f"{name} holds values that are not finite")
    return float(absolute), float(absolute / scale)


def compare(model, options):
    """A row of the table."""
    inputs = harness.inputs_of(model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    worst, worst_at, worst_absolute, sizes_seen = -1.0, "", 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "model.so"
        seconds = harness.compile_model(options.fcc, model, library, options.timeout)
        for seed, sizes in enumerate(size_choices(inputs, harness.parse_sizes(options.size))):
            arrays = harness.random_inputs(inputs, sizes, seed)
            if options.text:
                harness.draw_text(arrays, seed)
            expected = session.run(None, arrays)
            runs = [run_fcc(options.fcc, library, arrays, outputs, t, options.timeout) for t in options.threads]
            for name, *values in zip(outputs, *runs):
                if any(v.tobytes() != values[0].tobytes() for v in values[1:]):
                    raise harness.FccError(f"{name} has other bits at another number of threads")
            text = " ".join(f"{k}={v}" for k, v in sizes.items())
            sizes_seen.append(text)
            for name, got, want in zip(outputs, runs[0], expected):
                absolute, relative = errors(got, np.asarray(want), name)
                worst_absolute = max(worst_absolute, absolute)
                if relative > worst:
                    worst, worst_at = relative, f"{name} {text}".strip()
    good = worst <= options.tolerance
    verdict = "ok" if good else "OVER"
    return good, [pathlib.Path(model).stem, f"{seconds:.1f}", len(sizes_seen), f"{worst_absolute:.2e}", f"{worst:.2e}",
                  worst_at, verdict]  # fmt: skip


def name_of(path):
    """Fixtures are all called model.onnx: their folder is their name."""
    path = pathlib.Path(path)
    return path.parent.name if path.stem == "model" else path.stem


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--fcc", default=harness.default_fcc())
    parser.add_argument("--size", action="append", metavar="NAME=A,B,..", help="sizes of an open dimension")
    parser.add_argument("--text", action="store_true", help="images of drawn text instead of noise")
    parser.add_argument("--threads", default="1,2", type=lambda t: t.split(","))
    parser.add_argument("--tolerance", type=float, default=1e-4, help="relative to the largest magnitude of an output")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one call of fcc")
    options = parser.parse_args()
    header = ["model", "compile s", "sizes", "abs error", "rel error", "worst at", ""]
    print(harness.markdown(header, []), flush=True)
    failures = 0
    for model in options.models:
        try:
            good, row = compare(model, options)
        except Exception as error:  # a refusal is a row too
            good, row = False, [name_of(model), "", "", "", "", str(error).replace("|", "/")[:160], "FAILED"]
        row[0] = name_of(model)
        failures += not good
        print("| " + " | ".join(str(c) for c in row) + " |", flush=True)
    print(f"\n{len(options.models) - failures} of {len(options.models)} models within {options.tolerance:g}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
