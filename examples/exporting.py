"""How every example exports its model: PyTorch's default exporter, one input and one output, an open batch "N"."""

import torch


def export(model, example, path, input_name, output_name, optimize=True):
    """`example` is a batch of two or more rows: with one, the exporter would fix the batch at one.

    A model that is to be trained is exported with optimize=False: else the exporter folds BatchNorm into the layer
    before it, transposes weights, and drops biases that are zero."""
    program = torch.onnx.export(model.eval(), (example,), input_names=[input_name], output_names=[output_name],
                                dynamo=True, dynamic_shapes=({0: torch.export.Dim("N", min=1)},), optimize=optimize, verbose=False)
    for node in program.model.graph:  # each node carries a stack trace: paths of the machine, and half of the file
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    program.save(path, external_data=False)
    print(f"{path}: {sum(p.numel() for p in model.parameters()):,} parameters")
