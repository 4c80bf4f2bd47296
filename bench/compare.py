"""Times fcc, onnxruntime and OpenVINO in turns and writes the ratio table. Started by bench/run.

Every engine has a process of its own, stopped while another one runs. Round by round, each engine runs for a while;
a figure is the median over the rounds of a round's median (and the least of the minima). fcc bench measures the
machine's multiply-add peak with the same threads in the same round. fcc runs the model as compiled with open sizes;
the peers are told the sizes beforehand. Before anything is timed, fcc's outputs are compared with onnxruntime's.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/compare"))
import harness  # noqa: E402
import report  # noqa: E402
import suite  # noqa: E402

PEERS = ("onnxruntime", "openvino")


class Peer:
    """A running peer.py, stopped except while it measures."""

    def __init__(self, engine, model, threads, sizes, inputs):
        command = [sys.executable, HERE / "peer.py", engine, model, threads, json.dumps(sizes), inputs]
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        first = self.process.stdout.readline()
        if not first:
            raise RuntimeError(f"{engine} refuses the model")
        self.version = json.loads(first)["version"]
        self.process.send_signal(signal.SIGSTOP)

    def run(self, seconds):
        self.process.send_signal(signal.SIGCONT)
        print(seconds, file=self.process.stdin, flush=True)
        result = json.loads(self.process.stdout.readline())
        self.process.send_signal(signal.SIGSTOP)
        return result

    def close(self):
        self.process.kill()
        self.process.wait()


class Fcc:
    def __init__(self, fcc, library, arguments, threads):
        self.command = [fcc, "bench", library, *arguments, "--threads", threads, "--json", "--seconds"]

    def run(self, seconds):
        return json.loads(harness.call([*self.command, seconds], 900))

    def close(self):
        pass


def export(model, zoo):
    path = zoo / f"{model}.new_open.onnx"
    if not path.exists():
        print(f"exporting {model}", file=sys.stderr, flush=True)
        script = HERE.parent / "tests/compare/export_zoo.py"
        subprocess.run([sys.executable, script, zoo, "--only", model, "--kinds", "new_open"], check=True, stdout=sys.stderr)
    return path


def check(fcc, library, model, arrays, arguments, sizes):
    """Relative error of fcc against onnxruntime; a fast wrong answer must not enter the table."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as folder:
        harness.call([fcc, "run", library, *arguments, "-o", folder], 900)
        worst = 0.0
        for output, want in zip(session.get_outputs(), session.run(None, arrays)):
            got = np.load(pathlib.Path(folder) / ("".join(c if c.isalnum() or c in "._-" else "_" for c in output.name) + ".npy"))
            worst = max(worst, float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)))
    return worst


def measure(case, threads, options, model, library, arrays, inputs_file, arguments):
    """A row: the figures of every engine and the machine's peak."""
    sizes = dict(case.sizes)
    engines = {"fcc": Fcc(options.fcc, library, arguments, threads)}
    try:
        versions = {}
        for name in PEERS:
            engines[name] = Peer(name, model, threads, sizes, inputs_file)
            versions[name] = engines[name].version
        rounds = {name: [] for name in engines}
        for _ in range(options.rounds):
            for name, engine in engines.items():
                rounds[name].append(engine.run(options.seconds))
    finally:
        for engine in engines.values():
            engine.close()
    row = {"model": case.name, "family": case.family, "target": case.target, "threads": threads, "versions": versions,
           "flops": rounds["fcc"][0]["flops"], "peak_gflops": max(r["peak_gflops"] for r in rounds["fcc"]),
           "limit_ns": statistics.median(r.get("limit_ns", 0) for r in rounds["fcc"])}  # fmt: skip
    for name, results in rounds.items():
        row[name] = {"min_ns": min(r["min_ns"] for r in results), "median_ns": statistics.median(r["median_ns"] for r in results)}
    return row


def run_case(case, options, zoo):
    model = export(case.model, zoo)
    sizes = dict(case.sizes)
    arrays = harness.random_inputs(harness.inputs_of(model), {**{"N": 1, "S": 128}, **sizes}, 1)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        inputs_file, library = folder / "inputs.npz", folder / "model.so"
        np.savez(inputs_file, **arrays)
        arguments = harness.save_inputs(arrays, folder)
        seconds = harness.compile_model(options.fcc, model, library)
        error = check(options.fcc, library, model, arrays, arguments, sizes)
        if not error < 1e-3:
            raise RuntimeError(f"differs from onnxruntime by {error:.2g} of the largest output")
        for threads in options.threads:
            row = measure(case, threads, options, model, library, arrays, inputs_file, arguments)
            yield {**row, "compile_s": seconds, "error": error}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only models whose name contains one of these")
    parser.add_argument("--threads", default="1,2", type=lambda t: [int(n) for n in t.split(",")])
    parser.add_argument("--seconds", type=float, default=1, help="of one engine in one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--zoo", type=pathlib.Path, default=pathlib.Path(os.environ.get("FCC_BENCH_HOME", ".")) / "zoo")
    parser.add_argument("--fcc", default=harness.default_fcc())
    parser.add_argument("--json", type=pathlib.Path, help="also the raw figures, to this file")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md although only some models ran")
    options = parser.parse_args()
    options.zoo.mkdir(parents=True, exist_ok=True)
    cases = [c for c in suite.CASES if not options.words or any(w in c.name for w in options.words)]
    rows, failures = [], []
    for case in cases:
        try:
            for row in run_case(case, options, options.zoo):
                rows.append(row)
                print(report.line(row), flush=True)
        except Exception as error:  # one model that fails must not end the table
            failures.append(f"{case.name}: {str(error)[:200]}")
            print(failures[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if rows:
        print("\n" + report.summary(rows))
    if rows and (options.write or not options.words):
        report.write(rows, failures, HERE.parent / "docs")
    return 1 if failures or not all(report.holds(r) for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
