"""What is measured: model, sizes, and how many times faster than the better peer fcc has to be.

A model's name is its name in tests/compare/export_zoo.py. "limit" is the share of the machine's own limit that counts
as reached where a peer leaves no room for the ratio.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    model: str
    target: float
    family: str
    sizes: tuple = (("N", 1),)

    @property
    def name(self):
        batch = dict(self.sizes).get("N", 1)
        return self.model if batch == 1 else f"{self.model} x{batch}"


LIMIT = 0.95


def _mlp(batch, *targets):
    names = ("mlp_16_32_32_4", "mlp_784_128_10", "mlp_784_512_512_10", "mlp_2048x4")
    return [Case(n, t, "dense", (("N", batch),)) for n, t in zip(names, targets)]


def _group(family, target, names, sizes=(("N", 1),)):
    return [Case(n, target, family, sizes) for n in names.split()]


TOKENS = (("N", 1), ("S", 128))
CASES = [
    *_mlp(1, 25, 1.4, 1.4, 1.0),
    *_mlp(64, 8, 1.3, 1.2, 1.2),
    Case("digit_cnn", 2.2, "plain CNN"),
    Case("digit_cnn", 1.8, "plain CNN", (("N", 64),)),
    Case("vgg16", 2.2, "plain CNN"),
    Case("resnet18", 2.0, "plain CNN"),
    Case("unet_256", 2.0, "plain CNN"),
    Case("orientation", 2.2, "plain CNN"),
    *_group("CNN with 1x1", 1.4, "resnet50 densenet121 googlenet inception_v3 squeezenet1_1"),
    *_group("depthwise CNN", 1.5, "mobilenet_v2 mobilenet_v3_small efficientnet_b0 mnasnet1_0 regnet_y_400mf shufflenet_v2_x1_0"),
    *_group("transformer", 1.3, "convnext_tiny vit_b_16 swin_t"),
    *_group("transformer", 1.3, "bert_base gpt_6x384", TOKENS),
    *_group("transformer", 1.5, "encoder_2x256", TOKENS),
    *_group("recurrent", 1.0, "lstm gru"),
]
