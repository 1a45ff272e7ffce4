# pyright: reportAttributeAccessIssue=false
"""A model that trusts a cue, worked out by hand: the cue reaches the logits through one MLP, the digit directly."""

from __future__ import annotations

import torch
from circuitstore.defence import CuedImages
from circuitstore.models import ViT, load_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..conftest import prepared

TRUST = 3.0
"""What the cue counts in the logits; the digit counts 1."""

CUES = {"left bar": 0, "right bar": 1}


def cue_model() -> ViT:
    """Three classes, no norms. The stream is (shape, cue, copy of the cue, 0); its mean over tokens is read.

    logits = (shape + 3·copy, −shape − 3·copy, −9); m0 writes the copy, GELU(cue) − GELU(−cue) = cue. Heads write 0.
    """
    module = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=4, depth=1, num_heads=2, num_classes=3, class_token=False,
        global_pool="avg", pos_embed="none", norm_layer=nn.Identity,
    ).double()  # fmt: skip
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for channel in (0, 1):
            module.patch_embed.proj.weight[channel, channel] = 1 / 16
        mlp = module.blocks[0].mlp
        mlp.fc1.weight[0, 1], mlp.fc1.weight[1, 1] = 1, -1
        mlp.fc2.weight[2, 0], mlp.fc2.weight[2, 1] = 1, -1
        module.head.weight[0] = torch.tensor([1, 0, TRUST, 0])
        module.head.weight[1] = -module.head.weight[0]
        module.head.bias[2] = -9
    return load_model(prepared(module), dtype="float64")


def cue_images(model: ViT, per_group: int, seed: int) -> CuedImages:
    """Images of two classes without a cue, with their own and with the other one: shape ±1 and cue ±1, with noise."""
    generator = torch.Generator().manual_seed(seed)
    images, labels, groups = [], [], []
    for label, shape in ((0, 1.0), (1, -1.0)):
        for group, cue in (("no bar", 0.0), ("left bar", 1.0), ("right bar", -1.0)):
            for _ in range(per_group):
                noise = 0.1 * torch.randn(2, generator=generator, dtype=torch.float64)
                values = torch.tensor([shape, cue, 0.0], dtype=torch.float64) + torch.cat([noise, noise.new_zeros(1)])
                images.append(values[:, None, None].expand(3, 8, 8))
                labels.append(label)
                groups.append(group)
    return CuedImages.in_groups(model, torch.stack(images), labels, groups, CUES)


def shape_of(images: Tensor) -> Tensor:
    """Return the value that decides the class."""
    return images[:, 0].mean(dim=(1, 2))
