"""Runs of the stock model with mixed activations: every receiver's input, or one component's output."""

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
    """Let every receiver read `corrupted + share · (stream − corrupted)`: a gate of `share` on every edge.

    Gradients at receivers are those at the mixture.

    Args:
        model: the model that runs in the `with` block.
        corrupted: the run to mix with.
        share: share of the current stream.

    Examples:
        >>> from circuitstore.models import capture
        >>> corrupted = capture(model, pairs.corrupted)
        >>> with mixed_reads(model, corrupted, share=0.0):
        ...     logits = model.logits(pairs.clean)
        >>> torch.allclose(logits, corrupted.logits, atol=1e-5)
        True
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
    """Let an attention or an MLP send `corrupted + share · (clean − corrupted)`, whatever it reads.

    Gradients reach this output, but do not pass through the component.

    Args:
        model: the model that runs in the `with` block.
        component: 2l for the attention of block l (all heads), 2l + 1 for its MLP.
        clean: the clean run.
        corrupted: the corrupted run.
        share: share of the clean output.

    Examples:
        >>> from circuitstore.models import capture
        >>> clean, corrupted = capture(model, pairs.clean), capture(model, pairs.corrupted)
        >>> with fixed_output(model, 1, clean, corrupted, share=1.0):  # the MLP of block 0, as in the clean run
        ...     logits = model.logits(pairs.clean)
        >>> torch.allclose(logits, clean.logits)
        True
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
