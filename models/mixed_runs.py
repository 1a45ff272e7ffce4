"""Runs of the stock model in which receivers or one component see or send a mixture with another run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .patched_runs import Activations
from .vit import ViT, installed


@contextmanager
def mixed_reads(model: ViT, corrupted: Activations, share: float) -> Iterator[None]:
    """While open, every receiver reads `corrupted + share · (stream − corrupted)`: a gate of `share` on every edge.

    Gradients at receivers are those at the mixture.
    """

    def towards(other: Tensor) -> Callable[[Any, tuple[Tensor, ...]], tuple[Tensor]]:
        return lambda _, args: (torch.lerp(other, args[0], share),)

    def hooks() -> Iterator[RemovableHandle]:
        for layer, block in enumerate(model.blocks):
            yield block.norm1.register_forward_pre_hook(towards(corrupted.attention_in[layer]))
            yield block.norm2.register_forward_pre_hook(towards(corrupted.mlp_in[layer]))
        yield model.module.norm.register_forward_pre_hook(towards(corrupted.final))

    with installed(*hooks()):
        yield


@contextmanager
def fixed_output(
    model: ViT, component: int, clean: Activations, corrupted: Activations, share: float
) -> Iterator[None]:
    """While open, an attention or an MLP sends `corrupted + share · (clean − corrupted)`, whatever it reads.

    Gradients reach what it sends, and nothing before it through it.

    Args:
        component: 2l for the attention of block l, all heads at once; 2l + 1 for its MLP.
    """
    layer, is_mlp = divmod(component, 2)
    block, kind = model.blocks[layer], "mlp_out" if is_mlp else "heads"
    sent = torch.lerp(getattr(corrupted, kind)[layer], getattr(clean, kind)[layer], share).requires_grad_()
    if is_mlp:
        hook = block.ls2.register_forward_hook(lambda _, __, ___: sent)
    else:
        hook = block.attn.proj.register_forward_pre_hook(lambda _, __: (sent,))
    with installed(hook):
        yield
