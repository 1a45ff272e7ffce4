# pyright: reportAttributeAccessIssue=false
"""A vision transformer whose logits are a sum over its neurons at the class token."""

from __future__ import annotations

import torch
from circuitstore.models import ViT, load_model
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from .conftest import prepared


def additive_model(values: Float[Tensor, "layer neuron"], weights: Float[Tensor, "layer neuron"]) -> ViT:
    """Return a model with logits (Σ weights · values, 0), whose neurons have the same positive values on all images.

    Attention writes nothing, the MLPs read nothing but their biases, and there are no norms.
    """
    layers, neurons = values.shape
    module = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=4, depth=layers, num_heads=1, num_classes=2, mlp_ratio=neurons / 4,
        norm_layer=nn.Identity, act_layer=nn.ReLU,
    ).double()  # fmt: skip
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for block, value, weight in zip(module.blocks, values, weights, strict=True):
            block.mlp.fc1.bias.copy_(value)
            block.mlp.fc2.weight[0].copy_(weight)
        module.head.weight[0, 0] = 1
    return load_model(prepared(module), dtype="float64")
