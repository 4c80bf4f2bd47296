"""Exports full-size models with random weights, by both PyTorch exporters, with fixed and open dimensions.

    python export_zoo.py OUTDIR [--only NAME ...] [--kinds old_static,old_open,new_static,new_open]

Run it in a virtual environment with torch, torchvision, onnx and onnxruntime. Files already there are kept.
About 8 GB in all; the VGG nets come in fewer kinds because their weights are half a gigabyte each.
"""

import argparse
import pathlib
import sys
import time

import torch
import torchvision.models as vision
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))
import torch_models as tm  # noqa: E402

CLASSIFIERS = {
    "resnet18": 224, "resnet50": 224, "mobilenet_v2": 224, "mobilenet_v3_small": 224, "squeezenet1_1": 224,
    "densenet121": 224, "googlenet": 224, "inception_v3": 299, "shufflenet_v2_x1_0": 224, "efficientnet_b0": 224,
    "mnasnet1_0": 224, "regnet_y_400mf": 224, "convnext_tiny": 224, "vit_b_16": 224, "swin_t": 224,
    "vgg11": 224, "vgg16": 224,
}  # fmt: skip
EXTRA_ARGUMENTS = {name: dict(aux_logits=False, init_weights=False) for name in ("googlenet", "inception_v3")}
FEWER_KINDS = {"vgg11": ("old_static", "new_open"), "vgg16": ("new_open",), "bert_base": ("old_open", "new_open")}


def entries():
    linear = [
        tm.rows_entry("mlp_16_32_32_4", lambda: tm.mlp(16, 32, 32, 4), 16),
        tm.rows_entry("mlp_784_128_10", lambda: tm.mlp(784, 128, 10), 784),
        tm.rows_entry("mlp_784_512_512_10", lambda: tm.mlp(784, 512, 512, 10), 784),
        tm.rows_entry("mlp_2048x4", lambda: tm.mlp(2048, 2048, 2048, 2048, 2048), 2048),
    ]
    own = [
        tm.image_entry("digit_cnn", tm.digit_cnn, 28, channels=1),
        tm.image_entry("orientation", tm.orientation_net, 480, channels=1),
        tm.image_entry("unet_256", tm.UNet, 256),
        tm.rows_entry("lstm", lambda: tm.Recurrent(nn.LSTM, 64, 128, layers=2), 32, 64),
        tm.rows_entry("gru", lambda: tm.Recurrent(nn.GRU, 64, 128, bidirectional=True), 32, 64),
        tm.Entry("encoder_2x256", lambda: tm.encoder(256, 8, 1024, 2), lambda n: {"x": torch.randn(n, 64, 256)},
                 {"x": {0: "N", 1: "S"}}, old_open_dims={"x": {0: "N"}}),
        tm.token_entry("gpt_6x384", tm.Gpt, 65, 128),
    ]
    zoo = [tm.image_entry(name, _classifier(name), size) for name, size in CLASSIFIERS.items()]
    bert = tm.token_entry("bert_base", tm.Bert, 30522, 128, mask=True)
    bert.outputs = ("y", "pooled")
    return linear + own + zoo + [bert]


def _classifier(name):
    return lambda: getattr(vision, name)(weights=None, **EXTRA_ARGUMENTS.get(name, {}))


def export_entry(entry, kinds, folder):
    wanted = [k for k in kinds if k in FEWER_KINDS.get(entry.name, tm.KINDS)]
    wanted = [k for k in wanted if not (folder / f"{entry.name}.{k}.onnx").exists()]
    if not wanted:
        return True
    torch.manual_seed(sum(map(ord, entry.name)))
    try:
        model = tm.randomise(entry.build(), entry.inputs(2))
        scale, change = tm.assert_alive(model, entry)
    except Exception as error:
        print(f"{entry.name}: FAILED {error}", flush=True)
        return False
    print(f"{entry.name}: outputs up to {scale:.3g}, change with the input by {change:.3g}", flush=True)
    good = True
    for kind in wanted:
        path, start = folder / f"{entry.name}.{kind}.onnx", time.time()
        try:
            tm.export(model, entry, kind, path)
            print(f"  {path.name}: {path.stat().st_size / 1e6:.2f} MB, {time.time() - start:.0f} s", flush=True)
        except Exception as error:  # one refused export must not end the whole night
            lines = str(error).splitlines() or [type(error).__name__]
            print(f"  {path.name}: FAILED {lines[0][:300]}", flush=True)
            good = False
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir", type=pathlib.Path)
    parser.add_argument("--only", nargs="*", help="names of models; all by default")
    parser.add_argument("--kinds", default=",".join(tm.KINDS))
    options = parser.parse_args()
    options.outdir.mkdir(parents=True, exist_ok=True)
    chosen = [e for e in entries() if not options.only or e.name in options.only]
    results = [export_entry(e, options.kinds.split(","), options.outdir) for e in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
