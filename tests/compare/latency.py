"""Times compiled models against onnxruntime and OpenVINO, in turns, on the same inputs and number of threads.

    python latency.py MODEL.onnx ... [--size N=1,64] [--threads 1,2] [--seconds 1] [--rounds 3] [--peers-fixed]

Run it in a virtual environment with numpy, onnx, onnxruntime and openvino, on a machine that does nothing else.
Engines take turns, round by round, so that a slow minute hits all of them; a figure is the median over the rounds of
a round's median. Peers are set up as one would for latency: onnxruntime with I/O binding, intra_op = threads,
inter_op = 1; OpenVINO with f32 forced and the latency hint. They are called from Python, whose own cost (the "floor"
printed first) is not subtracted: below about ten times the floor, a ratio says more about Python than about engines.
"of peak" is the model's FLOP/s over the FMA peak that fcc bench measures with the same threads. A ratio above 1 means
that fcc is faster. --peers-fixed tells the peers the sizes beforehand; fcc always runs the model as compiled.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
import openvino

import harness
from compare import name_of


def onnxruntime_call(model, arrays, threads, sizes, fixed):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if fixed:
        for name, size in sizes.items():
            options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    keep = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    for name, value in keep.items():
        binding.bind_ortvalue_input(name, value)
    names = [o.name for o in session.get_outputs()]
    for name, array in zip(names, session.run(None, arrays)):
        keep["output " + name] = onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array))
        binding.bind_ortvalue_output(name, keep["output " + name])
    return lambda keep=keep: session.run_with_iobinding(binding)


def openvino_call(model, arrays, threads, sizes, fixed):
    core = openvino.Core()
    network = core.read_model(model)
    if fixed:
        network.reshape({name: list(array.shape) for name, array in arrays.items()})
    compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                                                   "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    for name, array in arrays.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return request.infer


PEERS = {"onnxruntime": onnxruntime_call, "openvino": openvino_call}


def median_ns(call, seconds):
    end = time.perf_counter() + seconds / 10
    while time.perf_counter() < end:
        call()
    times, end = [], time.perf_counter_ns() + int(seconds * 1e9)
    while len(times) < 3 or time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times)


def bench(fcc, library, arguments, threads, seconds):
    text = harness.call([fcc, "bench", library, *arguments, "--threads", threads, "--seconds", seconds, "--json"], 900)
    return json.loads(text)


def floors(seconds=0.3):
    """What a call from Python costs before any arithmetic: a model of one Relu of one number."""
    value = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "floor", [value("x")], [value("y")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "floor.onnx")
        onnx.save(model, path)
        arrays = {"x": np.ones(1, np.float32)}
        return {name: median_ns(make(path, arrays, 1, {}, False), seconds) for name, make in PEERS.items()}


def measure(model, library, inputs, sizes, threads, options):
    """A row of the table."""
    arrays = harness.random_inputs(inputs, sizes, 1)
    calls = {name: make(model, arrays, threads, sizes, options.peers_fixed) for name, make in PEERS.items()}
    times = {name: [] for name in ("fcc", *PEERS)}
    with tempfile.TemporaryDirectory() as folder:
        arguments = harness.save_inputs(arrays, folder)
        for _ in range(options.rounds):
            report = bench(options.fcc, library, arguments, threads, options.seconds)
            times["fcc"].append(report["median_ns"])
            for name, call in calls.items():
                times[name].append(median_ns(call, options.seconds))
    middle = {name: statistics.median(values) for name, values in times.items()}
    peak = report["flops"] / middle["fcc"] / report["peak_gflops"] if report["peak_gflops"] else 0
    ratios = {name: middle[name] / middle["fcc"] for name in PEERS}
    text = " ".join(f"{k}={v}" for k, v in sizes.items()) or "fixed"
    row = [name_of(model), text, threads, *(f"{middle[name] / 1e6:.4g}" for name in times),
           *(f"{r:.2f}" for r in ratios.values()), f"{100 * peak:.0f} %"]  # fmt: skip
    return row, ratios


def cases(options):
    given = harness.parse_sizes(options.size)
    for model in options.models:
        inputs = harness.inputs_of(model)
        symbols = harness.symbols_of(inputs)
        first = {s: given.get(s, [1 if axis == 0 else 128]) for s, (_, axis) in symbols.items()}
        count = max((len(sizes) for sizes in first.values()), default=1)
        choices = [{s: sizes[min(i, len(sizes) - 1)] for s, sizes in first.items()} for i in range(count)]
        yield model, inputs, choices


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--fcc", default=harness.default_fcc())
    parser.add_argument("--size", action="append", metavar="NAME=A,B,..",
                        help="sizes of an open dimension, lists walked together; default 1 row, 128 steps")
    parser.add_argument("--threads", default="1,2", type=lambda t: [int(n) for n in t.split(",")])
    parser.add_argument("--seconds", type=float, default=1, help="for an engine in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-fixed", action="store_true", help="peers know the sizes beforehand")
    options = parser.parse_args()
    print("floor of a call from Python: " + ", ".join(f"{k} {v / 1e3:.1f} us" for k, v in floors().items()) + "\n")
    header = ["model", "sizes", "threads", *(f"{n} ms" for n in ("fcc", *PEERS)), *(f"{n} / fcc" for n in PEERS)]
    print(harness.markdown(header + ["of peak"], []), flush=True)
    ratios, failed = {name: [] for name in PEERS}, False
    for model, inputs, choices in cases(options):
        with tempfile.TemporaryDirectory() as folder:
            try:
                library = pathlib.Path(folder) / "model.so"
                harness.compile_model(options.fcc, model, library)
                for sizes in choices:
                    for threads in options.threads:
                        row, found = measure(model, library, inputs, sizes, threads, options)
                        print("| " + " | ".join(str(c) for c in row) + " |", flush=True)
                        for name, ratio in found.items():
                            ratios[name].append(ratio)
            except Exception as error:  # one model that fails must not end the table
                failed = True
                print(f"| {name_of(model)} | {str(error)[:160]} |", flush=True)
    for name, values in ratios.items():
        if values:
            print(f"\n{name} / fcc: geometric mean {statistics.geometric_mean(values):.2f}, worst {min(values):.2f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
