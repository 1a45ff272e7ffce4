"""Selected heads of an attention: their ports computed from their input, and their outputs from their ports."""

from __future__ import annotations

from typing import Any

import numpy as np
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
    q, k = (
        norm(part, heads) if isinstance(norm, RotaryNorm) else norm(part)
        for norm, part in ((attn.q_norm, q), (attn.k_norm, k))
    )
    return F.scaled_dot_product_attention(q, k, v, scale=attn.scale)
