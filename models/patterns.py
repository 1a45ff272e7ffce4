"""Attention patterns, recomputed from q and k of a run, which itself uses fused attention."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .heads import pattern
from .vit import ViT, installed


def head_pattern(
    model: ViT, layer: int, ports: Float[Tensor, "image token ports"]
) -> Float[Tensor, "image head query token"]:
    """Return the attention of a layer's heads from the output of qkv, in the model's exact dtype.

    Examples:
        >>> from circuitstore.models import capture
        >>> run = capture(model, pairs.clean)
        >>> head_pattern(model, 0, run.ports[0]).sum(dim=-1).allclose(torch.tensor(1.0))
        True
    """
    q, k, _ = ports.unflatten(-1, (3, model.n_heads, model.d_head)).permute(2, 0, 3, 1, 4)
    return pattern(model.blocks[layer].attn, q, k)


@torch.no_grad()
def attention_of(
    model: ViT, images: Float[Tensor, "image channel height width"]
) -> Float[Tensor, "image layer head query token"]:
    """Run the plain model and return its attention in every layer.

    Examples:
        >>> attention_of(model, pairs.clean).shape  # image, layer, head, query, token
        torch.Size([8, 4, 4, 65, 65])
    """
    found: list[Tensor] = []

    def keep(layer: int, _: Any, __: Any, ports: Tensor) -> None:
        found.append(head_pattern(model, layer, ports))

    hooks = (b.attn.qkv.register_forward_hook(partial(keep, layer)) for layer, b in enumerate(model.blocks))
    with installed(*hooks):
        model.through_blocks(model.embed(images))
    return torch.stack(found, dim=1)
