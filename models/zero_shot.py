"""A zero-shot classifier: text embeddings as a head on an image embedding (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ZeroShotHead(nn.Module):
    """logits = exp(s) · z/‖z‖ · t + b, for the image embedding z and the text embedding t of each class.

    ‖z‖ depends on the whole stream, so the logits are not a sum over senders: the division is part of the receiver
    `logits`, and gradients pass through it.

    Args:
        text: one embedding per class, of length 1.
        scale: s, the logarithm of the temperature's inverse.
        bias: b, if the model was trained with a sigmoid loss (SigLIP); else None.
    """

    text: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, text: Float[Tensor, "class width"], scale: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("text", text.detach().clone())
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, embedding: Float[Tensor, "image width"]) -> Float[Tensor, "image class"]:
        logits = self.scale.exp() * F.normalize(embedding, dim=-1) @ self.text.T
        return logits if self.bias is None else logits + self.bias


@torch.no_grad()
def length_errors(text: Float[Tensor, "class width"]) -> Float[Tensor, "class"]:
    """Return the distance of each embedding's length from 1."""
    return (text.double().norm(dim=-1) - 1).abs()
