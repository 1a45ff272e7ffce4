"""What is spent while a method runs: images forward and back through the model, and all matrix products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from circuitstore.models import ViT
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass
class Spent:
    """What has been spent so far.

    Attributes:
        forwards: images through all MLPs; a run of a part of the model, or of some tokens, counts as that share.
        backwards: the same on the way back.
        flops: of all matrix products, forward and back: mixtures of gated runs, heads run anew and the edges' own
            contraction included. None where they were not counted.
    """

    forwards: float = 0.0
    backwards: float = 0.0
    flops: int | None = None


class _Products(TorchDispatchMode):
    """Adds up the FLOPs of what runs while it is open; a factor of about 2 in time."""

    def __init__(self, spent: Spent) -> None:
        super().__init__()
        self.spent = spent

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        flops = flop_registry.get(func._overloadpacket)
        if flops is not None:
            self.spent.flops = (self.spent.flops or 0) + flops(*args, **(kwargs or {}), out_val=out)
        return out


@contextmanager
def counted(model: ViT, *, products: bool = False) -> Iterator[Spent]:
    """Count while open.

    Args:
        products: count the FLOPs of matrix products besides, which takes time.
    """
    spent = Spent(flops=0 if products else None)
    whole = model.n_tokens * model.d_model * model.n_layers

    def back(share: float) -> Callable[[Tensor], None]:
        def add(_: Tensor) -> None:
            spent.backwards += share

        return add

    def forward(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        share = args[0].numel() / whole
        spent.forwards += share
        if out.requires_grad:
            out.register_hook(back(share))

    with ExitStack() as stack:
        for block in model.blocks:
            stack.callback(block.mlp.register_forward_hook(forward).remove)
        if products:
            stack.enter_context(_Products(spent))
        yield spent


def forward_flops(model: ViT, images: Tensor) -> float:
    """FLOPs of the matrix products of one plain forward, per image."""
    with counted(model, products=True) as spent, torch.no_grad():
        model.logits(images)
    assert spent.flops is not None
    return spent.flops / len(images)
