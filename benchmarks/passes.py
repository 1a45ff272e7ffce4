"""Count the cost of a method: forward and backward passes per image, and FLOPs of all matrix products."""

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
class Cost:
    """The cost so far.

    Attributes:
        forwards: images through all MLPs; a run of a part of the model, or of some tokens, counts as that share.
        backwards: the same in the backward pass.
        flops: FLOPs of all matrix products in both passes, including mixtures of gated runs, recomputed heads and the
            contraction of edges. None if they are not counted.
    """

    forwards: float = 0.0
    backwards: float = 0.0
    flops: int | None = None


class _Products(TorchDispatchMode):
    """Count the FLOPs of the `with` block, which makes it about twice as slow."""

    def __init__(self, cost: Cost) -> None:
        super().__init__()
        self.cost = cost

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        flops = flop_registry.get(func._overloadpacket)
        if flops is not None:
            self.cost.flops = (self.cost.flops or 0) + flops(*args, **(kwargs or {}), out_val=out)
        return out


@contextmanager
def counted(model: ViT, *, products: bool = False) -> Iterator[Cost]:
    """Count the cost of the `with` block.

    Args:
        model: the model.
        products: also count the FLOPs of matrix products, which takes time.
    """
    cost = Cost(flops=0 if products else None)
    whole = model.n_tokens * model.d_model * model.n_layers

    def back(share: float) -> Callable[[Tensor], None]:
        def add(_: Tensor) -> None:
            cost.backwards += share

        return add

    def forward(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        share = args[0].numel() / whole
        cost.forwards += share
        if out.requires_grad:
            out.register_hook(back(share))

    with ExitStack() as stack:
        for block in model.blocks:
            stack.callback(block.mlp.register_forward_hook(forward).remove)
        if products:
            stack.enter_context(_Products(cost))
        yield cost


def forward_flops(model: ViT, images: Tensor) -> float:
    """Return the FLOPs of the matrix products of one plain forward, per image."""
    with counted(model, products=True) as cost, torch.no_grad():
        model.logits(images)
    assert cost.flops is not None
    return cost.flops / len(images)
