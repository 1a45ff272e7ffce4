"""q, k and v of every head as linear functions of the normalised stream, with the norm's affine part folded in.

With x̂ the normalised stream, a port's activation is `W' x̂ + b'`. With the norm's Jacobian, a gradient g at the port
gives the following gradient at the receiver's input:

    W'ᵀ ĝ − x̂ · c ,   ĝ = g / σ ,   c = (port − b') · ĝ / D

(LayerNorm: the rows of W' are centred over D. RMSNorm: they are not. No norm: W' is the weight and c = 0.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .representable import RMS_NORMS


@dataclass(frozen=True)
class PortReading:
    """The ports of one block: weight and bias after folding, and the norm in front of them.

    Attributes:
        weight: W' of each port, in the order of timm's qkv: q of all heads, then k, then v.
        bias: b' of each port.
        norm: the block's norm1.
    """

    weight: Float[Tensor, "port d_head d_model"]
    bias: Float[Tensor, "port d_head"]
    norm: Any

    @classmethod
    def of(cls, block: Any, dtype: torch.dtype) -> PortReading:
        """Fold a block's norm1 into its qkv projection, in `dtype`."""
        qkv, norm = block.attn.qkv, block.norm1
        weight = qkv.weight.detach().to(dtype)
        bias = torch.zeros(len(weight), dtype=dtype, device=weight.device)
        if qkv.bias is not None:
            bias = bias + qkv.bias.detach()
        if getattr(norm, "bias", None) is not None:
            bias = bias + weight @ norm.bias.detach().to(dtype)
        if getattr(norm, "weight", None) is not None:
            weight = weight * norm.weight.detach().to(dtype)
        if isinstance(norm, nn.LayerNorm):
            weight = weight - weight.mean(dim=1, keepdim=True)
        ports = (3 * block.attn.num_heads, block.attn.head_dim)
        return cls(weight.unflatten(0, ports), bias.unflatten(0, ports), norm)

    @cached_property
    def is_linear(self) -> bool:
        """Whether there is no norm, so that c = 0."""
        return isinstance(self.norm, nn.Identity)

    @cached_property
    def bias_products(self) -> Float[Tensor, "width port"]:
        """Matrix that maps gradients at all ports to b'·g of each port."""
        return torch.block_diag(*self.bias.unsqueeze(-1))

    def normalise(
        self, stream: Float[Tensor, "image token d_model"]
    ) -> tuple[Float[Tensor, "image token d_model"], Float[Tensor, "image token 1"]]:
        """Return x̂ and 1/σ of a stream, without the norm's affine part; 1/σ is 1 without a norm."""
        return normalise(self.norm, stream.to(self.weight.dtype))


def normalise(norm: Any, values: Float[Tensor, "*any width"]) -> tuple[Float[Tensor, "*any width"], Tensor]:
    """Return x̂ and 1/σ `[*any, 1]` for one of `NORMS`, without its affine part; 1/σ is 1 without a norm."""
    if isinstance(norm, nn.Identity):
        return values, torch.ones_like(values[..., :1])
    eps = norm.eps
    if isinstance(norm, nn.LayerNorm):
        normal, _, inverse = torch.native_layer_norm(values, values.shape[-1:], None, None, float(eps))
        return normal, inverse
    assert isinstance(norm, RMS_NORMS)
    eps = torch.finfo(values.dtype).eps if eps is None else eps
    inverse = torch.rsqrt(values.square().mean(dim=-1, keepdim=True) + eps)
    return values * inverse, inverse
