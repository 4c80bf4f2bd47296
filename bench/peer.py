"""One engine in a process of its own, so that its threads and its memory are nobody else's.

    python peer.py ENGINE MODEL THREADS SIZES.json INPUTS.npz

Reads seconds, a line each, from stdin and answers each with the times of that long a run in JSON. Between two lines the
caller stops the process (SIGSTOP): an engine whose threads spin after a call must not slow down the next one.
Peers are set up for latency as their makers advise, and know all sizes beforehand.
"""

import json
import sys
import time

import numpy as np


def onnxruntime_call(model, arrays, threads, sizes):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    keep = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    for name, value in keep.items():
        binding.bind_ortvalue_input(name, value)
    for output, array in zip(session.get_outputs(), session.run(None, arrays)):
        keep["output " + output.name] = onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array))
        binding.bind_ortvalue_output(output.name, keep["output " + output.name])
    return (lambda keep=keep: session.run_with_iobinding(binding)), onnxruntime.__version__


def openvino_call(model, arrays, threads, sizes):
    import openvino

    core = openvino.Core()
    network = core.read_model(model)
    network.reshape({name: list(array.shape) for name, array in arrays.items()})
    compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                                                   "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    for name, array in arrays.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return request.infer, openvino.__version__.split("-")[0]


ENGINES = {"onnxruntime": onnxruntime_call, "openvino": openvino_call}


def sample(call, seconds):
    """Times in ns; a tenth of the seconds warms up, three calls at least."""
    end = time.perf_counter() + seconds / 10
    while time.perf_counter() < end:
        call()
    times, end = [], time.perf_counter_ns() + int(seconds * 1e9)
    while len(times) < 3 or time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return times


def main():
    engine, model, threads, sizes, inputs = sys.argv[1:]
    arrays = dict(np.load(inputs))
    call, version = ENGINES[engine](model, arrays, int(threads), json.loads(sizes))
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        times = sample(call, float(line))
        print(json.dumps({"min_ns": min(times), "median_ns": float(np.median(times))}), flush=True)


if __name__ == "__main__":
    main()
