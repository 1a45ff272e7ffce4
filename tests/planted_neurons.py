# pyright: reportAttributeAccessIssue=false
"""Vision transformers without norms whose neurons are written out by hand.

Attention writes nothing. A neuron has the value relu(reads · stream + bias) and writes its value times `writes`. The
logits are (s, 0), where s is the last dimension of the stream, so the probability of class 0 is logistic(s).
"""

from __future__ import annotations

import torch
from circuitstore.models import ViT, load_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from .conftest import prepared

WIDTH = 8
LAST = WIDTH - 1


def planted(layers: list[list[tuple[dict[int, float], float, dict[int, float]]]]) -> ViT:
    """Return a model whose layers have the given neurons: what each reads, its bias, and what it writes."""
    n = max(map(len, layers))
    module = VisionTransformer(
        img_size=16, patch_size=16, embed_dim=WIDTH, depth=len(layers), num_heads=1, num_classes=2, pos_embed="none",
        norm_layer=nn.Identity, act_layer=nn.ReLU, mlp_ratio=n / WIDTH, weight_init="skip",
    ).double()  # fmt: skip
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    for block, neurons in zip(module.blocks, layers, strict=True):
        for b, (reads, bias, writes) in enumerate(neurons):
            block.mlp.fc1.bias.data[b] = bias
            for dimension, weight in reads.items():
                block.mlp.fc1.weight.data[b, dimension] = weight
            for dimension, weight in writes.items():
                block.mlp.fc2.weight.data[dimension, b] = weight
    module.head.weight.data[0, LAST] = 1
    return load_model(prepared(module), dtype="float64")


def additive(values: list[list[float]], weights: list[list[float]]) -> ViT:
    """Every neuron has a constant value and adds weight · value to s."""
    return planted(
        [
            [({}, value, {LAST: weight}) for value, weight in zip(*layer, strict=True)]
            for layer in zip(values, weights, strict=True)
        ]
    )


def chain(n_layers: int, gain: float = 1.0) -> ViT:
    """Neuron l of layer l reads what the one before wrote; the first has the value 1, only the last writes to s.

    The other neurons of a layer have the value 0.5 and write nothing.
    """
    idle = ({}, 0.5, {})
    layers = []
    for layer in range(n_layers):
        link = (
            {layer - 1: 1.0} if layer else {},
            0.0 if layer else 1.0,
            {layer: gain} if layer < n_layers - 1 else {LAST: 3.0},
        )
        layers.append([link if b == layer else idle for b in range(n_layers + 1)])
    return planted(layers)


def blank(model: ViT, count: int = 1) -> Tensor:
    """Return images, which these models do not look at."""
    return torch.zeros(count, 3, *model.image_size, dtype=torch.float64)
