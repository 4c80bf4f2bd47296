"""What compare.py and the benchmark (bench/) share: the command line of fcc, the inputs of a model, random data for them."""

import os
import pathlib
import subprocess
import time

import numpy as np
import onnx

DTYPES = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.DOUBLE: np.float64, onnx.TensorProto.INT64: np.int64,
          onnx.TensorProto.INT32: np.int32, onnx.TensorProto.BOOL: np.bool_}  # fmt: skip
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def default_fcc():
    return os.environ.get("FCC", str(ROOT / "build/release/tools/fcc"))


class FccError(RuntimeError):
    pass


def call(command, timeout):
    """Runs fcc and returns what it printed; a refusal becomes its first line."""
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise FccError(f"no answer in {timeout} s") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise FccError(f"exit {done.returncode}: {lines[0]}")
    return done.stdout


def compile_model(fcc, model, library, timeout=900):
    start = time.time()
    call([fcc, model, "-o", library], timeout)
    return time.time() - start


def inputs_of(path):
    """[(name, dtype, dims)] where an open dimension is its name."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {t.name for t in graph.initializer}
    result = []
    for value in graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        dims = [d.dim_param or (d.dim_value if d.HasField("dim_value") else f"{value.name}_{i}")
                for i, d in enumerate(tensor.shape.dim)]
        result.append((value.name, DTYPES[tensor.elem_type], dims))
    return result


def random_inputs(inputs, sizes, seed):
    """Floats of deviation one. Integers are small, as token ids must be; masks end in zeros, as padding does."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, dtype, dims in inputs:
        shape = [sizes[d] if isinstance(d, str) else d for d in dims]
        if "mask" in name:
            lengths = generator.integers(max(1, shape[-1] // 2), shape[-1] + 1, shape[:-1] + [1])
            arrays[name] = (np.arange(shape[-1]) < lengths).astype(dtype)
        elif np.issubdtype(dtype, np.floating):
            arrays[name] = generator.standard_normal(shape).astype(dtype)
        else:
            arrays[name] = generator.integers(0, 2 if dtype == np.bool_ else 50, shape).astype(dtype)
    return arrays


def draw_text(arrays, seed):
    """Replaces images [N,3,H,W] by lines of dark strokes on a light ground, for detectors that answer zero to noise."""
    generator = np.random.default_rng(seed)
    for name, array in arrays.items():
        if array.ndim != 4 or array.shape[1] != 3:
            continue
        image = np.full(array.shape, 1.0, np.float32)
        n, _, height, width = array.shape
        for b in range(n):
            for top in range(8, height - 24, 40):
                for left in range(10, width - 24, 18):
                    for _ in range(3):  # a glyph: three strokes, horizontal or vertical, in a box of 12 by 16
                        y, x = top + generator.integers(0, 12), left + generator.integers(0, 9)
                        tall = generator.integers(0, 2)
                        image[b, :, y:y + (16 if tall else 3), x:x + (3 if tall else 12)] = -1.0
        arrays[name] = image + 0.02 * generator.standard_normal(array.shape).astype(np.float32)


def save_inputs(arrays, folder):
    """The -i arguments of fcc run and fcc bench."""
    arguments = []
    for index, (name, array) in enumerate(arrays.items()):
        path = pathlib.Path(folder) / f"input_{index}.npy"
        np.save(path, array)
        arguments += ["-i", f"{name}={path}"]
    return arguments


def parse_sizes(texts):
    """N=1,3,8 S=5,64 → {"N": [1, 3, 8], "S": [5, 64]}"""
    return {name: [int(v) for v in values.split(",")] for name, values in (t.split("=") for t in texts or [])}


def symbols_of(inputs):
    """{symbol: (rank, axis)} of its first use, in order."""
    symbols = {}
    for _, _, dims in inputs:
        for axis, dim in enumerate(dims):
            if isinstance(dim, str):
                symbols.setdefault(dim, (len(dims), axis))
    return symbols


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])
