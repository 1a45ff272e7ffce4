"""What each sender adds to the stream, as the difference between two runs of the stock model.

Heads are never run apart: their concatenated outputs are caught before the output projection, and
the projection is applied to each head's slice of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..circuits import Form
from .vit import ViT, installed


class SenderDifferences:
    """Δ = clean − corrupted of every sender, taken while both runs happen, the clean one first or second.

    Attributes:
        values: `[image, sender, token, d_model]` in the model's exact dtype; complete after `finish`.
    """

    def __init__(self, model: ViT, form: Form, stream: Float[Tensor, "image token d_model"]) -> None:
        images, tokens, width = stream.shape
        self.model, self.merged = model, form == "block"
        self.per_layer = 2 if self.merged else model.n_heads + 1
        empty = partial(torch.empty, dtype=model.exact_dtype, device=stream.device)
        self.values = empty(images, 1 + model.n_layers * self.per_layer, tokens, width)
        self.heads = empty(model.n_layers, images, tokens, model.n_heads * model.d_head)
        self._started = False

    @contextmanager
    def recording(self, sign: int, stream: Float[Tensor, "image token d_model"]) -> Iterator[None]:
        """While open, the one run of the blocks on `stream` is added with `sign` (+1 clean, −1 corrupted)."""
        first, self._started = not self._started, True

        def add(into: Tensor, value: Tensor) -> None:
            value = value.detach()
            if first:
                torch.mul(value.to(into.dtype), sign, out=into)
            else:
                into.add_(value, alpha=sign)

        def hooks(layer: int) -> Iterator[RemovableHandle]:
            block, mlp = self.model.blocks[layer], self.values[:, (layer + 1) * self.per_layer]
            yield block.attn.proj.register_forward_pre_hook(lambda _, args: add(self.heads[layer], args[0]))
            yield block.ls2.register_forward_hook(lambda _, __, out: add(mlp, out))

        add(self.values[:, 0], stream)
        with installed(*(hook for layer in range(self.model.n_layers) for hook in hooks(layer))):
            yield

    def finish(self) -> None:
        """Project the heads' differences, image by image, straight into their place."""
        for layer, writing in enumerate(self.model.writings):
            first = 1 + layer * self.per_layer
            for image, heads in enumerate(self.heads[layer]):
                into = self.values[image, first : first + self.per_layer - 1]
                if self.merged:
                    torch.mm(heads, writing.flatten(0, 1), out=into[0])
                else:
                    torch.bmm(heads.unflatten(1, writing.shape[:2]).transpose(0, 1), writing, out=into)
        del self.heads
