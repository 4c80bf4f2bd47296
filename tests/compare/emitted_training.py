#!/usr/bin/env python3
"""Training steps that fcc writes as ONNX (fcc train --emit-onnx), checked by ONNX's own tools.

    python tests/compare/emitted_training.py build/release [MODEL.onnx ...] [--steps 10]

Each file is joined as ONNX defines it (the model's graph, then the algorithm's), checked by onnx.checker with shape
inference, and its steps are run by onnx's reference evaluator, the update bindings carried out by hand; the losses must be
those of the step that fcc compiled, called through its C interface. Without models: those of tests/train and
examples/train_*. It needs a virtual environment with onnx, so it is no part of ctest; tests/train/own_step_test.cc is.
"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import harness
from train_examples import Runtime

ROOT = harness.ROOT
# model, loss, optimizer and other options
MODELS = {
    "tests/train/mlp.onnx": ["cross_entropy", "--optimizer", "adam(lr=0.01)", "--clip-norm", "1"],
    "tests/train/bn_mlp.onnx": ["mse", "--optimizer", "rmsprop(momentum=0.9,centered=true)"],
    "tests/train/cnn.onnx": ["cross_entropy", "--optimizer", "sgd(lr=0.02,momentum=0.9,nesterov=true)"],
    "tests/train/encoder.onnx": ["cross_entropy(label_smoothing=0.1)", "--optimizer", "adamw(lr=0.003)"],
    "examples/train_house_price/house_price.onnx": ["smooth_l1", "--optimizer", "nadam"],
    "examples/train_batchnorm/batchnorm.onnx": ["mse", "--optimizer", "adagrad"],
    "examples/train_characters/characters.onnx": ["cross_entropy", "--optimizer", "radam", "--freeze", "mask"],
    "examples/train_orientation/orientation.onnx": ["mse", "--optimizer", "adadelta"],
    "examples/train_mobilenet/mobilenet.onnx": ["cross_entropy", "--optimizer", "lion", "--trainable", "classifier", "--bn-eval", "."],
}


def joined(model):
    """The training graph of ONNX: lists of the model and of the algorithm, one behind the other."""
    algorithm = model.training_info[0].algorithm
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.training_info[:]
    for field in ("node", "initializer", "input", "output"):
        getattr(whole.graph, field).extend(getattr(algorithm, field))
    return whole


def as_inputs(whole, names):
    """The same graph with its states as inputs, so that an evaluator can be given their values."""
    values = {t.name: numpy_helper.to_array(t) for t in whole.graph.initializer if t.name in names}
    infos = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in whole.graph.initializer if t.name in names]
    kept = [t for t in whole.graph.initializer if t.name not in names]
    del whole.graph.initializer[:]
    whole.graph.initializer.extend(kept)
    whole.graph.input.extend(infos)
    return values


def data_for(whole, states, generator, batch=4):
    arrays = {}
    for v in whole.graph.input:
        if v.name in states:
            continue
        t = v.type.tensor_type
        shape = [d.dim_value or batch for d in t.shape.dim]
        dtype = harness.DTYPES[t.elem_type]
        arrays[v.name] = generator.integers(0, 4, shape) if dtype == np.int64 else generator.standard_normal(shape).astype(dtype)
    return arrays


def check(fcc, runtime, model, options, steps, folder):
    emitted, library = folder / "step.onnx", folder / "net.so"
    harness.call([fcc, "train", ROOT / model, "-o", library, "--loss", *options, "--dropout", "off", "--emit-onnx", emitted], 300)
    model_proto = onnx.load(emitted)
    whole = joined(model_proto)
    functions = {f.name for f in whole.functions}
    foreign = sorted({n.op_type for n in whole.graph.node if n.domain == "fcc"} - functions)
    onnx.checker.check_model(whole, full_check=not foreign)
    updates = {b.key: b.value for b in model_proto.training_info[0].update_binding}
    if foreign:
        return [model, options[2], len(whole.graph.node), "checked", "not run: " + ", ".join(foreign)], True
    states = as_inputs(whole, set(updates))
    evaluator = ReferenceEvaluator(whole)
    trainer = runtime.trainer(library, 1)
    generator = np.random.default_rng(1)
    worst = 0.0
    for _ in range(steps):
        data = data_for(whole, states, generator)
        results = evaluator.run(["loss", *updates.values()], {**data, **states})
        states = dict(zip(updates, results[1:]))
        loss = trainer.step(*data.values())
        worst = max(worst, abs(loss - float(results[0])) / abs(loss))
    # The median tensor: biases without a gradient (before a norm, of attention's keys) differ by all that rounding is.
    weights = np.median([np.abs(trainer.state(k) - v).max() / max(np.abs(v).max(), 1e-30) for k, v in states.items() if not k.startswith("hyper") and v.size])
    trainer.close()
    return [model, options[2], len(whole.graph.node), "checked", f"loss off by {worst:.1e}, the median state by {weights:.1e}"], worst < 1e-4


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("models", nargs="*", default=[m for m in MODELS if (ROOT / m).exists()])
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    runtime, rows, good = Runtime(args.build), [], True
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            row, fine = check(args.build / "tools/fcc", runtime, model, MODELS[model], args.steps, pathlib.Path(folder))
            print("  ".join(str(c) for c in row), file=sys.stderr, flush=True)
            rows.append(row)
            good &= fine
    print(f"onnx {onnx.__version__}, {args.steps} steps\n\n" + harness.markdown(["model", "optimizer", "nodes", "onnx.checker", "reference evaluator"], rows))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
