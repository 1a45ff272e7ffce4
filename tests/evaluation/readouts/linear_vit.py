"""A vision transformer whose logits are linear in the pixels, so that all attributions can be worked out."""

from __future__ import annotations

import torch
from circuitstore.models import ViT, load_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ...conftest import enliven

PREPROCESSING = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "crop": 1.0, "interpolation": "bicubic"}


def linear_vit(**changes) -> ViT:
    """Images of 8 × 12 pixels, 2 × 3 patches, 4 classes; components write nothing, and patches are averaged."""
    shape = {"img_size": (8, 12), "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 4}
    options = {"class_token": False, "global_pool": "avg", "norm_layer": nn.Identity} | shape | changes
    module = enliven(VisionTransformer(**options).double()).eval()
    with torch.no_grad():
        for block in module.blocks:
            for part in (block.attn.proj, block.mlp.fc2):
                part.weight.zero_()
                part.bias.zero_()
    return load_model(module, dtype="float64", **PREPROCESSING)


def logit_gradient(model: ViT, label: int) -> Tensor:
    """Return the gradient of a logit of the linear model, from one unit pixel after the other."""
    units = torch.eye(3 * 8 * 12, dtype=torch.float64).view(-1, 3, 8, 12)
    return (model.logits(units) - model.logits(torch.zeros(1, 3, 8, 12)))[:, label].view(3, 8, 12)


def on_grid(pixels: Tensor) -> Tensor:
    """Return the sums of patches of 4 × 4 pixels `[image, row, column]` of `[image, channel, height, width]`."""
    rows = [torch.stack([part.sum(dim=(1, 2, 3)) for part in row.split(4, dim=3)], 1) for row in pixels.split(4, dim=2)]
    return torch.stack(rows, dim=1)
