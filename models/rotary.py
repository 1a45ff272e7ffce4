"""Rotary position embeddings: q and k of each patch token are rotated by the token's position.

The rotation is linear in q and k and does not depend on the stream, so ports stay linear functions of the normalised
stream and heads still add up.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor, nn

Heads = np.ndarray | slice
"""Which heads of a layer, in order."""


class RotaryNorm(nn.Module):
    """The norm of q or k of each head, followed by the rotation; the tokens before the patches are not rotated.

    Args:
        norm: the model's norm of q or k.
        table: sines and cosines, one row per patch token; one table for all heads, or one each.
        prefix: number of tokens before the patches.
        rotate_half: which dimensions are rotated together: those half a head apart (True), or neighbours.
    """

    table: Tensor

    def __init__(
        self, norm: nn.Module, table: Float[Tensor, "*head patch angle"], prefix: int, rotate_half: bool
    ) -> None:
        super().__init__()
        self.norm, self.prefix, self.rotate_half = norm, prefix, rotate_half
        self.register_buffer("table", table, persistent=False)

    def forward(
        self, value: Float[Tensor, "image head token d_head"], heads: Heads = slice(None)
    ) -> Float[Tensor, "image head token d_head"]:
        """Rotate q or k of these heads; the tokens may be any number of first tokens."""
        value = self.norm(value)
        before, patches = value[:, :, : self.prefix], value[:, :, self.prefix :]
        table = (self.table if self.table.ndim == 2 else self.table[heads])[..., : patches.shape[2], :]
        return torch.cat([before, apply_rot_embed_cat(patches, table, half=self.rotate_half)], dim=2).type_as(value)
