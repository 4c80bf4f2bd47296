"""Writes the cases of ONNX's node suite that a later release of onnx corrected, as that release states them.

    python export.py        (onnx 1.19 or later; the files in Git come from 1.23.2)

Debian's test_adam_multiple leaves out the attribute epsilon=0.01 with which its outputs were computed.
"""
import pathlib

from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

CASES = {"test_adam_multiple"}

for case in collect_testcases(None):
    if case.name not in CASES:
        continue
    folder = pathlib.Path(__file__).resolve().parent / "node" / case.name
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for kind, arrays, values in (("input", case.data_sets[0][0], case.model.graph.input), ("output", case.data_sets[0][1], case.model.graph.output)):
        for i, (array, value) in enumerate(zip(arrays, values)):
            (data / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(array, value.name).SerializeToString())
