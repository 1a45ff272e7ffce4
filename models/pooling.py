"""Poolings of tokens that timm does not have."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ClassAndMean(nn.Module):
    """The class token, followed by the mean of the patches, as DINOv2's linear classifier reads them.

    Args:
        prefix: number of tokens before the patches, of which the class token is the first.
    """

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix

    def forward(self, tokens: Float[Tensor, "image token d_model"]) -> Float[Tensor, "image pooled"]:
        return torch.cat([tokens[:, 0], tokens[:, self.prefix :].mean(dim=1)], dim=1)
