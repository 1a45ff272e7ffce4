"""A new head: another linear classifier on the pooled tokens of a model, as an edit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...circuits.response import Intervention
from ...errors import InputError
from ...models import LinearHead, ViT
from .edit import Changes, Edit
from .kind import HASH, InterventionKind


class _HeadChange(Changes):
    weight: Tensor
    bias: Tensor

    def __init__(self, model: ViT, head: LinearHead) -> None:
        super().__init__()
        self.register_buffer("weight", head.weight.to(model.device, model.dtype))
        self.register_buffer("bias", head.bias.to(model.device, model.dtype))

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        yield module.head.register_forward_hook(self._logits)

    def _logits(self, _: nn.Module, args: tuple[Tensor, ...], plain: Tensor) -> Tensor | None:
        return None if self.off else self.chosen(F.linear(args[0], self.weight, self.bias), plain)


@dataclass(frozen=True, eq=False, repr=False)
class NewHead(Edit):
    """A new head; created by `replace_head`."""

    head: LinearHead

    @property
    def intervention(self) -> Intervention:
        check = sha256()
        for tensor in (self.head.weight, self.head.bias):
            check.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return REPLACE_HEAD.use(head=check.hexdigest())

    @property
    def text(self) -> str:
        return f"another last layer of {len(self.head.bias)} classes"

    def changes(self, model: ViT) -> Changes:
        return _HeadChange(model, self.head)


def replace_head(model: ViT, head: LinearHead) -> NewHead:
    """Return the edit that computes the logits with another last layer.

    Args:
        model: the model.
        head: the new last layer, with a row for each class of the model.

    Raises:
        InputError: the head has other classes, or reads another number of values.

    Examples:
        >>> from circuitstore.models import LinearHead
        >>> edit = replace_head(model, LinearHead.zeros(64, model.labels))
        >>> with edit.applied(model):
        ...     model.logits(pairs.clean).abs().max().item()
        0.0
    """
    last: Any = model.module.head
    shape = tuple(last.weight.shape)
    if tuple(head.weight.shape) != shape:
        raise InputError(
            f"head: expected weights {shape} for {model.name}, one row per class, got {tuple(head.weight.shape)}"
        )
    return NewHead(model.fingerprint, head)


REPLACE_HEAD = InterventionKind(
    key="replace-head",
    name="Compute the logits with another last layer",
    function=replace_head,
    params={"head": HASH},
)
