"""Heads of an attention: their ports computed from their input, and their outputs and patterns from their ports."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .rotary import Heads, RotaryNorm

Places = Int[np.ndarray, "port"]
Ports = int | slice | tuple[int | Places, Places]
"""An index into `[q k v, head]`: 0 is q of all heads, `(1, heads)` is k of some, two arrays list single ports."""


def project(
    attn: Any, normal: Float[Tensor, "run token d_model"], ports: Ports
) -> Float[Tensor, "run token *port d_head"]:
    """Compute ports that share one normalised input; `ports` determines the port axes of the result."""
    qkv, shape = attn.qkv, (3, attn.num_heads, attn.head_dim)
    weight = qkv.weight.unflatten(0, shape)[ports]
    bias = None if qkv.bias is None else qkv.bias.unflatten(0, shape)[ports].flatten()
    return F.linear(normal, weight.flatten(0, -2), bias).unflatten(-1, weight.shape[:-1])


def attend(
    attn: Any,
    q: Float[Tensor, "image head query d_head"],
    k: Float[Tensor, "image head token d_head"],
    v: Float[Tensor, "image head token d_head"],
    heads: Heads = slice(None),
) -> Float[Tensor, "image head query d_head"]:
    """Compute the outputs of some heads, before the output projection, from their ports; q may stop early."""
    return F.scaled_dot_product_attention(*_normed(attn, q, k, heads), v, scale=attn.scale)


def pattern(
    attn: Any, q: Float[Tensor, "image head query d_head"], k: Float[Tensor, "image head token d_head"]
) -> Float[Tensor, "image head query token"]:
    """Compute the attention of all heads from their ports: the share of each token in what a query reads."""
    q, k = _normed(attn, q, k, slice(None))
    scores = (q @ k.transpose(-1, -2)).to(torch.promote_types(q.dtype, torch.float32)) * attn.scale
    return scores.softmax(dim=-1)


def _normed(attn: Any, q: Tensor, k: Tensor, heads: Heads) -> tuple[Tensor, Tensor]:
    """Apply the norms of q and k, and the rotation."""
    q, k = (
        norm(part, heads) if isinstance(norm, RotaryNorm) else norm(part)
        for norm, part in ((attn.q_norm, q), (attn.k_norm, k))
    )
    return q, k
