"""Makes the committed fixtures: small models as PyTorch exports them, with an input and the answer of onnxruntime.

    python make_models.py [--only NAME ...]

Run it in a virtual environment with torch, torchvision, onnx, onnxscript and onnxruntime. Each folder beside this
file is an ONNX test case (model.onnx, test_data_set_*/{input,output}_*.pb), so `fcc test tests/models/*/` runs them.
Models with open dimensions have data sets of other sizes than they were traced with.

Architectures keep their shape but not their width: what breaks a compiler is how layers are joined. Widths are no
multiples of 16 on purpose.
"""

import argparse
import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch
import torchvision.models as vision
from torch import nn

import linear_models
import torch_models as tm
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.regnet import BlockParams

HERE = pathlib.Path(__file__).resolve().parent


# --- narrow copies -----------------------------------------------------------------------------------------------


def narrowed(model, width):
    """The same network with width(c) channels where it had c; 3 image channels and the classes stay."""
    for parent in model.modules():
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                inputs = layer.in_channels if layer.in_channels == 3 else width(layer.in_channels)
                new = nn.Conv2d(inputs, width(layer.out_channels), layer.kernel_size, layer.stride, layer.padding,
                                bias=layer.bias is not None)
            elif isinstance(layer, nn.BatchNorm2d):
                new = nn.BatchNorm2d(width(layer.num_features), layer.eps)
            elif isinstance(layer, nn.Linear):
                new = nn.Linear(width(layer.in_features), layer.out_features)
            else:
                continue
            setattr(parent, name, new)
    return model


def by_table(**widths):
    table = {int(key[1:]): value for key, value in widths.items()}
    return lambda channels: table[channels]


def resnet18():
    return narrowed(vision.resnet18(num_classes=10), by_table(c64=4, c128=6, c256=8, c512=18))


def resnet50():
    widths = by_table(c64=4, c128=6, c256=8, c512=10, c1024=18, c2048=20)
    return narrowed(vision.ResNet(vision.resnet.Bottleneck, [1, 2, 1, 1], num_classes=10), widths)


def vgg11():
    model = narrowed(vision.vgg11(num_classes=10).features, by_table(c64=4, c128=6, c256=10, c512=12))
    head = [nn.Flatten(), nn.Linear(12, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 24), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(model, nn.AdaptiveAvgPool2d((1, 1)), *head, nn.Linear(24, 10))


def squeezenet1_1():
    model = vision.squeezenet1_1(num_classes=10)
    model.features[10], model.features[12] = nn.Identity(), nn.Identity()
    return narrowed(model, lambda c: c if c == 10 else c // 8)


def googlenet():
    model = vision.googlenet(num_classes=10, aux_logits=False, init_weights=False)
    for name in ("inception4b", "inception4c", "inception5a", "inception5b"):
        setattr(model, name, nn.Identity())
    model.fc = nn.Linear(832, 10)
    return narrowed(model, lambda c: c // 16)


def densenet121():
    return vision.DenseNet(growth_rate=4, block_config=(2, 2, 1, 2), num_init_features=8, bn_size=2, num_classes=10)


def mobilenet_v2():
    settings = [[1, 8, 1, 1], [6, 16, 2, 2], [6, 20, 2, 1], [6, 32, 1, 2]]
    model = vision.MobileNetV2(10, width_mult=0.25, inverted_residual_setting=settings, round_nearest=4)
    model.features[-1] = vision.mobilenetv2.Conv2dNormActivation(8, 36, kernel_size=1, activation_layer=nn.ReLU6)
    model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(36, 10))
    return model


def mobilenet_v3_small():
    block = vision.mobilenetv3.InvertedResidualConfig
    rows = [(8, 3, 8, 8, True, "RE", 2, 1), (8, 3, 20, 12, False, "RE", 2, 1), (12, 5, 28, 16, True, "HS", 2, 1),
            (16, 5, 24, 12, True, "HS", 1, 1)]
    return vision.MobileNetV3([block(*row, width_mult=1.0) for row in rows], last_channel=28, num_classes=10)


def shufflenet_v2_x1_0():
    return vision.ShuffleNetV2([2, 2, 1], [8, 12, 20, 36, 40], num_classes=10)


def efficientnet_b0():
    rows = [(1, 3, 1, 8, 8, 1), (6, 3, 2, 8, 8, 2), (6, 5, 2, 8, 12, 1)]
    return EfficientNet([MBConvConfig(*row) for row in rows], dropout=0.2, num_classes=10, last_channel=24)


def mnasnet1_0():
    model = vision.MNASNet(0.1, num_classes=10)
    layers = list(model.layers)[:11]
    model.layers = nn.Sequential(*layers, nn.Conv2d(8, 40, 1, bias=False), nn.BatchNorm2d(40), nn.ReLU(inplace=True))
    model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(40, 10))
    return model


def regnet_y_400mf():
    parameters = BlockParams.from_init_params(depth=4, w_0=8, w_a=6.0, w_m=2.1, group_width=8, se_ratio=0.25)
    return vision.RegNet(parameters, num_classes=10, stem_width=8)


def convnext_tiny():
    rows = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, 18, 2), CNBlockConfig(18, None, 1)]
    return vision.ConvNeXt(rows, num_classes=10)


def vit():
    return vision.VisionTransformer(image_size=24, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=36,
                                    num_classes=10)


def swin():
    return vision.SwinTransformer([4, 4], 8, [2, 1], [2, 2], [2, 2], num_classes=10)


def architectures():
    """(entry, export kinds to commit, other sizes of its open dimensions)."""
    images = [
        (resnet18, 24, "old_static"), (resnet50, 24, "new_open"), (vgg11, 32, "old_open"),
        (mobilenet_v2, 24, "new_open"), (mobilenet_v3_small, 24, "new_static"), (squeezenet1_1, 32, "new_static"),
        (densenet121, 32, "old_open"), (googlenet, 32, "new_open"), (shufflenet_v2_x1_0, 24, "old_open"),
        (efficientnet_b0, 24, "new_open"), (mnasnet1_0, 24, "old_static"), (regnet_y_400mf, 24, "new_static"),
        (convnext_tiny, 24, "old_static"), (vit, 24, "new_open"), (swin, 16, "new_open"),
    ]  # fmt: skip
    for build, size, kinds in images:
        yield tm.image_entry(build.__name__, build, size), kinds.split()
    unet = tm.Entry("unet", lambda: tm.UNet(width=4, depth=2), lambda n: {"x": torch.randn(n, 3, 8 * n, 12)},
                    {"x": {0: "N", 2: "H"}})
    yield unet, ["old_open"]
    bert = tm.token_entry("bert", lambda: tm.Bert(60, 24, 18, 3, 36, 2), 60, 12, mask=True)
    bert.outputs = ("y", "pooled")
    yield bert, ["old_open", "new_open"]
    yield tm.token_entry("gpt", lambda: tm.Gpt(50, 24, 18, 2, 1), 50, 12), ["old_open", "new_open"]
    yield tm.Entry("encoder", lambda: tm.encoder(18, 3, 36, 2), lambda n: {"x": torch.randn(n, 7 + n, 18)},
                   {"x": {0: "N", 1: "S"}}), ["new_open"]
    yield tm.rows_entry("lstm", lambda: tm.Recurrent(nn.LSTM, 10, 12, layers=2), 9, 10), ["old_open", "new_open"]
    yield tm.rows_entry("gru", lambda: tm.Recurrent(nn.GRU, 10, 12, bidirectional=True), 9, 10), \
        ["old_static", "new_static"]
    yield tm.image_entry("digit_cnn", small_digit_cnn, 28, channels=1), ["new_open"]


def small_digit_cnn():
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 9, 3, padding=1),
                         nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(441, 7), nn.ReLU(), nn.Linear(7, 10))


# --- writing -----------------------------------------------------------------------------------------------------


def strip(model):
    """Drops stack traces and other notes of the exporter: paths of the machine, and much of a small file."""
    del model.metadata_props[:]
    for part in [model.graph, *model.functions]:
        del part.metadata_props[:]
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in [*part.value_info, *getattr(part, "input", []), *getattr(part, "output", [])]:
            if not isinstance(value, str):
                del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    return model


def draw_data(session, entry, batch, seed):
    """Inputs and onnxruntime's outputs, none of them nearly zero: the tolerance of ONNX test cases is relative to each
    element, and says nothing about one that is left over when large terms cancel."""
    for attempt in range(500):
        torch.manual_seed(seed + attempt)
        inputs = entry.inputs(batch)
        results = session.run(None, {i.name: inputs[i.name].numpy() for i in session.get_inputs()})
        if all(np.abs(r[r != 0]).min() > 5e-4 * np.abs(r).max() for r in results):
            return inputs, results
    raise RuntimeError("every input tried has an output near zero")


def write_data_set(folder, session, inputs, results):
    folder.mkdir()
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    for kind, names, values in (("input", list(arrays), list(arrays.values())),
                                ("output", [o.name for o in session.get_outputs()], results)):
        for index, (name, value) in enumerate(zip(names, values)):
            (folder / f"{kind}_{index}.pb").write_bytes(
                onnx.numpy_helper.from_array(np.ascontiguousarray(value), name).SerializeToString())


def make(entry, kinds):
    torch.manual_seed(sum(map(ord, entry.name)))
    model = tm.randomise(entry.build(), entry.inputs(16))
    scale, _ = tm.assert_alive(model, entry)
    for kind in kinds:
        folder = HERE / f"{entry.name}.{kind}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = folder / "model.onnx"
        tm.export(model, entry, kind, path)
        path.write_bytes(strip(onnx.load(path)).SerializeToString())
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        batches = (entry.static_batch,)
        if kind.endswith("open"):
            batches = (1, 2) if entry.inputs(1)[session.get_inputs()[0].name].numel() < 3000 else (2,)
        for index, batch in enumerate(batches):
            inputs, results = draw_data(session, entry, batch, 1000 * (1 + index))
            write_data_set(folder / f"test_data_set_{index}", session, inputs, results)
            with torch.no_grad():
                expected = model(*inputs.values())
            expected = expected if isinstance(expected, tuple) else (expected,)
            for got, want in zip(results, expected):
                error = np.abs(got - want.numpy()).max() / np.abs(want.numpy()).max()
                assert error < 1e-4, f"{folder.name}: onnxruntime and PyTorch differ by {error}"
                assert np.abs(got).max() > 0.05, f"{folder.name}: output vanishes"
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        print(f"{folder.name}: {size / 1000:.1f} kB, outputs up to {scale:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    if not options.only:
        for stale in HERE.glob("*/model.onnx"):
            shutil.rmtree(stale.parent)
    failed = []
    for entry, kinds in [*architectures(), *linear_models.entries()]:
        if options.only and entry.name not in options.only:
            continue
        try:
            make(entry, kinds)
        except Exception as error:
            failed.append(entry.name)
            print(f"{entry.name}: FAILED {str(error)[:400]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
