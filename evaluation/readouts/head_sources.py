"""The product of a head's output with a gradient, divided by the token that the head reads from.

⟨o_h, g⟩ = Σ_s Σ_q A[q, s] ⟨v[s] W_O, g[q]⟩
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import Activations, ViT, head_pattern

OfHead = Callable[[int, int, Float[Tensor, "image token d_model"]], Float[Tensor, "image token"]]
"""Returns the parts by source token, given the layer, the head and the gradient at the tokens that it writes to."""


def head_sources(model: ViT, run: Activations) -> OfHead:
    """Return the function that divides the products of a run's heads; it computes each layer's attention once."""

    @cache
    def pattern(layer: int) -> Float[Tensor, "image head query token"]:
        with torch.no_grad():
            return head_pattern(model, layer, run.ports[layer])

    def of_head(layer: int, head: int, gradient: Tensor) -> Tensor:
        values = run.ports[layer].unflatten(-1, (3, model.n_heads, model.d_head))[:, :, 2, head].to(gradient)
        wanted = gradient @ model.writings[layer][head].T
        return (pattern(layer)[:, head].to(gradient).transpose(1, 2) @ wanted * values).sum(dim=-1)

    return of_head
