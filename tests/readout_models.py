"""Models of every kind that read-outs support, by name, in float64."""

from __future__ import annotations

import pytest
import transformers
from circuitstore.models import ViT, load_model, zero_shot
from timm.models.vision_transformer import VisionTransformer

from .conftest import enliven, prepared
from .families import CLIPS, FAMILIES, build, build_clip, text
from .reference import VARIANTS

DINO = "DINOv2 of transformers"
LARGE = "SigLIP with its bias"
NAMES = [
    *VARIANTS,
    *FAMILIES,
    "CLIP",
    "CLIP, average of the patches",
    DINO,
    pytest.param(LARGE, marks=pytest.mark.slow),
]
NOT_LINEAR = ("map pooling", "SigLIP", "Perception Encoder", LARGE)
"""Models whose read-out is not linear in the tokens."""
LINEAR = [name for name in NAMES[:-1] if name not in NOT_LINEAR]
STATED = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop": 1.0, "interpolation": "bicubic"}


def load(name: str) -> ViT:
    """Return a small model: two layers, and all weights live."""
    if name in VARIANTS:
        small = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 4, "num_classes": 5}
        arguments = small | VARIANTS[name]
        factory = arguments.pop("factory", VisionTransformer)
        return load_model(prepared(enliven(factory(**arguments).double()).eval()), dtype="float64")
    if name in CLIPS:
        clip = build_clip(name)
        return load_model(zero_shot(clip, text(CLIP_WIDTHS[name])), dtype="float64")
    if name == DINO:
        sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 8, "patch_size": 4}
        config = transformers.Dinov2Config(**sizes, layerscale_value=0.3, id2label=dict(enumerate("abcde")))
        module = enliven(transformers.Dinov2ForImageClassification(config).double()).eval()
        return load_model(module, dtype="float64", **STATED)
    return load_model(build(name), dtype="float64")


CLIP_WIDTHS = {"CLIP": 12, "CLIP, average of the patches": 16, "SigLIP with its bias": 96}
