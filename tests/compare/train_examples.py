#!/usr/bin/env python3
"""The examples that train, 200 steps beside PyTorch: the same weights, the same batches, dropout off.

    python tests/compare/train_examples.py build/release [--only train_digits] [--steps 200] [--dtype f64 f32]

For each example of examples/train_*, in float64 and in float32: the worst relative difference of the loss of a step, and
of every weight and running statistic after the last step (of a tensor: the largest difference over the largest
magnitude; shown is the one that is nearest to its bound). Beside it g, the same figure of PyTorch against itself between one and two threads: training magnifies
rounding. Both must be within max(1e-9, 5 g) in float64 and max(1e-3, 5 g) in float32, else the script fails.

tests/train/export_steps.py does the same for small networks, whose results are committed; here the networks, the data and
the options are those of the examples, and PyTorch runs beside. The runtime is called through its C interface.
"""

import argparse
import contextlib
import ctypes
import importlib
import io
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))
warnings.filterwarnings("ignore")
import harness  # noqa: E402
from exporting import export  # noqa: E402
from training import parameters_with_decay  # noqa: E402

DTYPES = {"f64": torch.float64, "f32": torch.float32}
BOUNDS = {"f64": 1e-9, "f32": 1e-3}


# ---- the examples ---------------------------------------------------------------------------------------------------

class Example:
    """What a training script does, as data. options: of fcc train. optimizer, schedule: functions of the module, of the
    optimizer. rows(script): inputs and targets; a step takes the next `batch` of them, and begins again at the end."""

    def __init__(self, script, batch, loss, options, optimizer, rows, loss_of, schedule=None, fcc_schedule=None, clip=None, build=None):
        self.script, self.batch, self.loss, self.options = script, batch, loss, options
        self.optimizer, self.rows, self.loss_of = optimizer, rows, loss_of
        self.schedule, self.fcc_schedule, self.clip = schedule, fcc_schedule, clip
        self.build = build or (lambda script: script.build())


def cosine(steps):
    return lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps)


def warm_cosine(warmup, steps):
    return lambda o: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.LinearLR(o, 0.01, 1.0, warmup), torch.optim.lr_scheduler.CosineAnnealingLR(o, steps - warmup)], [warmup])


def fashion(script):
    return [a[:12800] for a in script.load(script.DATA / "train-images-idx3-ubyte.gz", script.DATA / "train-labels-idx1-ubyte.gz")]


TABLE = {
    "train_digits": Example("make_digits", 64, "cross_entropy", ["--optimizer", "adam(lr=1e-3)"], lambda m: torch.optim.Adam(m.parameters(), lr=1e-3),
                            lambda s: s.load(s.HERE / "train-images-idx3-ubyte.gz", s.HERE / "train-labels-idx1-ubyte.gz"), F.cross_entropy),
    "train_house_price": Example("make_house_price", 64, "mse", ["--optimizer", "adam(lr=2e-3)"], lambda m: torch.optim.Adam(m.parameters(), lr=2e-3),
                                 lambda s: s.market()[0], F.mse_loss, cosine(2500), "cosine(steps=2500)"),
    "train_batchnorm": Example("make_batchnorm", 32, "mse", ["--optimizer", "adamw(lr=3e-3,weight_decay=0.01)", "--group", "bias|^[15]: weight_decay=0"],
                               lambda m: torch.optim.AdamW(parameters_with_decay(m, 0.01), lr=3e-3), lambda s: s.market()[0], F.mse_loss,
                               cosine(5000), "cosine(steps=5000)"),
    "train_orientation": Example("make_orientation", 32, "mse", ["--optimizer", "adam(lr=1e-3)"], lambda m: torch.optim.Adam(m.parameters(), lr=1e-3),
                                 lambda s: s.draw(512), F.mse_loss),
    "train_characters": Example("make_characters", 64, "cross_entropy",
                                ["--optimizer", "adamw(lr=3e-3,weight_decay=0.01)", "--group", "bias|norm|position: weight_decay=0", "--freeze", "mask",
                                 "--clip-norm", "1"],
                                lambda m: torch.optim.AdamW([{"params": [p for n, p in m.named_parameters() if not spared(n)], "weight_decay": 0.01},
                                                             {"params": [p for n, p in m.named_parameters() if spared(n)], "weight_decay": 0.0}], lr=3e-3),
                                lambda s: s.sums(8000), F.cross_entropy, warm_cosine(100, 1250), "cosine(steps=1150, warmup=100, warmup_start=0.01)", 1.0),
    "train_series": Example("make_series", 64, "mse", ["--optimizer", "adam(lr=2e-2)", "--clip-norm", "1"], lambda m: torch.optim.Adam(m.parameters(), lr=2e-2),
                            lambda s: s.windows(2000, 0), F.mse_loss, cosine(384), "cosine(steps=384)", 1.0),
    "train_mobilenet": Example("make_mobilenet", 32, "cross_entropy", ["--optimizer", "adam(lr=3e-3)", "--trainable", "^classifier", "--bn-eval", "."],
                               lambda m: torch.optim.Adam(m.classifier.parameters(), lr=3e-3), lambda s: s.draw(256), F.cross_entropy,
                               build=lambda s: s.freeze(s.load(s.build(), s.HERE / "mobilenet.onnx"))),
    "train_fashion": Example("make_fashion", 64, "cross_entropy", ["--optimizer", "sgd(lr=0.02,momentum=0.9)"],
                             lambda m: torch.optim.SGD(m.parameters(), lr=0.02, momentum=0.9), fashion, F.cross_entropy),
}


def spared(name):
    return "bias" in name or "norm" in name or "position" in name


# ---- PyTorch --------------------------------------------------------------------------------------------------------

def prepare(module):
    """Dropout off; momentum and epsilon of norms as an ONNX file can say them, in float32."""
    for m in module.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.momentum = 1 - float(np.float32(1 - m.momentum))
        if hasattr(m, "eps"):
            m.eps = float(np.float32(m.eps))
    return module


def batches(example, data, steps):
    x, y = data
    order = torch.arange(steps * example.batch).remainder(len(x)).split(example.batch)
    return [(x[rows], y[rows]) for rows in order]


def cast(tensor, dtype):
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def with_torch(example, module, weights, data, dtype, threads):
    torch.set_num_threads(threads)
    module.to(dtype).load_state_dict({k: cast(v, dtype) for k, v in weights.items()})
    module.train()
    optimizer = example.optimizer(module)
    schedule = example.schedule(optimizer) if example.schedule else None
    losses = []
    for x, y in data:
        loss = example.loss_of(module(cast(x, dtype)), cast(y, dtype))
        optimizer.zero_grad()
        loss.backward()
        if example.clip:
            nn.utils.clip_grad_norm_(module.parameters(), example.clip)
        optimizer.step()
        if schedule:
            schedule.step()
        losses.append(loss.item())
    return losses, {k: v.double().numpy().copy() for k, v in module.state_dict().items() if v.is_floating_point()}


# ---- fcc ------------------------------------------------------------------------------------------------------------

class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_uint32), ("rank", ctypes.c_uint32),
                ("dims", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64))]


class TrainerOptions(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint32), ("threads", ctypes.c_uint32), ("pool", ctypes.c_void_p), ("on_nonfinite", ctypes.c_uint32),
                ("good_copy_steps", ctypes.c_uint32)]


NUMPY = {1: np.float32, 2: np.float64, 7: np.int32, 8: np.int64}  # fcc_dtype


class Runtime:
    """train.h through ctypes. Builds the runtime as a shared library, beside the build, when it is not there yet."""

    def __init__(self, build):
        folder = build.resolve() / "shared-runtime"
        library = folder / "runtime/libfcc_runtime.so"
        if not library.exists():
            options = [f"-DFCC_BUILD_{part}=OFF" for part in ("COMPILER", "TESTS", "EXAMPLES")]
            subprocess.run(["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", *options],
                           check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["cmake", "--build", str(folder), "--target", "fcc_runtime"], check=True, stdout=subprocess.DEVNULL)
        self.c = ctypes.CDLL(str(library))
        self.c.fcc_error_text.restype = ctypes.c_char_p

    def check(self, status):
        if status != 0:
            raise harness.FccError(self.c.fcc_error_text().decode())

    def trainer(self, library, threads):
        handle, trainer = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.c.fcc_library_open(str(library).encode(), ctypes.byref(handle)))
        options = TrainerOptions(ctypes.sizeof(TrainerOptions), threads, None, 0, 0)
        self.check(self.c.fcc_trainer_create(handle, ctypes.byref(options), ctypes.byref(trainer)))
        self.c.fcc_library_close(handle)
        return Trainer(self, trainer)


class Trainer:
    def __init__(self, runtime, handle):
        self.runtime, self.c, self.handle = runtime, runtime.c, handle

    def schedule(self, text):
        self.runtime.check(self.c.fcc_trainer_schedule(self.handle, text.encode()))

    def step(self, *arrays):
        kinds = {np.dtype(v): k for k, v in NUMPY.items()}
        arrays = [np.ascontiguousarray(a) for a in arrays]
        dims = [(ctypes.c_int64 * a.ndim)(*a.shape) for a in arrays]
        tensors = (Tensor * len(arrays))(*[Tensor(a.ctypes.data, kinds[a.dtype], a.ndim, d, None) for a, d in zip(arrays, dims)])
        loss = ctypes.c_double()
        self.runtime.check(self.c.fcc_trainer_step(self.handle, tensors, len(arrays), ctypes.byref(loss)))
        return loss.value

    def state(self, name):
        t = Tensor()
        self.runtime.check(self.c.fcc_trainer_state(self.handle, name.encode(), ctypes.byref(t)))
        dtype = np.dtype(NUMPY[t.dtype])
        shape = [t.dims[i] for i in range(t.rank)]
        bytes_ = ctypes.string_at(t.data, dtype.itemsize * int(np.prod(shape)))
        return np.frombuffer(bytes_, dtype).reshape(shape).astype(np.float64)

    def close(self):
        self.c.fcc_trainer_close(self.handle)


def with_fcc(runtime, fcc, example, model, folder, names, data, dtype, threads):
    library = folder / f"net.{dtype}.so"
    harness.call([fcc, "train", model, "-o", library, "--loss", example.loss, *example.options, "--dropout", "off", "--dtype", dtype], 300)
    trainer = runtime.trainer(library, threads)
    if example.fcc_schedule:
        trainer.schedule(example.fcc_schedule)
    losses = [trainer.step(*(cast(a, DTYPES[dtype]).numpy() for a in pair)) for pair in data]
    weights = {name: trainer.state(name) for name in names}
    trainer.close()
    return losses, weights


# ---- comparison -----------------------------------------------------------------------------------------------------

def off(ours, theirs):
    """The worst relative difference of a loss; that of every weight."""
    (losses, weights), (want_losses, want) = ours, theirs
    loss = max(abs(a - b) / max(abs(b), 1e-300) for a, b in zip(losses, want_losses))
    return loss, {k: float(np.abs(weights[k].reshape(v.shape) - v).max() / max(np.abs(v).max(), 1e-300)) for k, v in want.items()}


def compare(name, example, args, runtime, folder):
    sys.path.insert(0, str(EXAMPLES / name))
    script = importlib.import_module(example.script)
    torch.manual_seed(1)
    module = prepare(example.build(script))
    weights = {k: v.clone() for k, v in module.state_dict().items()}
    data = batches(example, example.rows(script), args.steps)
    model = folder / f"{name}.onnx"
    with contextlib.redirect_stdout(io.StringIO()):
        export(module, data[0][0][:2], str(model), "x", "y", optimize=False)
    for dtype in args.dtype:
        one, two = (with_torch(example, module, weights, data, DTYPES[dtype], threads) for threads in (1, 2))
        ours = with_fcc(runtime, args.build / "tools/fcc", example, model, folder, list(one[1]), data, dtype, args.threads)
        loss, weight = off(ours, one)
        gap_loss, gap = off(two, one)
        bound = {k: max(BOUNDS[dtype], 5 * g) for k, g in gap.items()}
        worst = max(weight, key=lambda k: weight[k] / bound[k])
        beyond = [k for k in weight if not weight[k] <= bound[k]]
        fine = loss <= max(BOUNDS[dtype], 5 * gap_loss) and not beyond
        yield [name, dtype, f"{one[0][0]:.4f} to {one[0][-1]:.4f}", f"{loss:.1e}", f"{gap_loss:.1e}", f"{weight[worst]:.1e} ({worst})", f"{gap[worst]:.1e}",
               "yes" if fine else "**no**: " + (", ".join(beyond) or "loss")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", default=[n for n in TABLE if (EXAMPLES / n).is_dir()])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--dtype", nargs="+", default=["f64", "f32"])
    parser.add_argument("--threads", type=int, default=1, help="of fcc; the bits are the same for any number")
    args = parser.parse_args()
    header = ["example", "type", "loss", "loss off by", "g", "a weight off by", "g", "holds"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(args.build)
        for name in args.only:
            for row in compare(name, TABLE[name], args, runtime, pathlib.Path(folder)):
                print("  ".join(row), file=sys.stderr, flush=True)
                rows.append(row)
    print(f"torch {torch.__version__.split('+')[0]}, {args.steps} steps\n\n" + harness.markdown(header, rows))
    return 0 if all(row[-1] == "yes" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
