"""Edits: fitted interventions, which change how one model computes.

An edit runs as hooks of the stock model, which exist only within a `with` block, or as a module of its own. The hooks
read the senders' outputs in the run itself, so an edit depends on no other run and on no other image of the batch.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...circuits.response import Intervention
from ...errors import InputError
from ...models import ViT
from ...models.vit import installed


class Changes(nn.Module, ABC):
    """The hooks of an edit in one model, and the tensors that they need, as buffers.

    Attributes:
        mask: which images of the running batch are edited; None for all.
        off: whether the hooks change nothing.
    """

    mask: Bool[Tensor, "image"] | None = None
    off: bool = False

    @abstractmethod
    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        """Register the hooks on timm's model and yield their handles."""

    def chosen(self, edited: Tensor, plain: Tensor) -> Tensor:
        """Return the edited values of the images in `mask`, and the plain values of the others.

        Raises:
            InputError: the batch has another number of images than the mask.
        """
        if self.mask is None:
            return edited
        if len(self.mask) != len(plain):
            raise InputError(
                f"expected a run of the {len(self.mask)} images that the gate has seen, got one of {len(plain)}; "
                "start a gated run from its images: model.embed(images) or model.logits(images)"
            )
        return torch.where(self.mask.view(-1, *[1] * (plain.ndim - 1)), edited, plain)


class Unchanged(Changes):
    """No change at all."""

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        return iter(())


def before(part: nn.Module, change: Any, *where: Any) -> RemovableHandle:
    """Register `change(*where, value)` on what a module reads; None changes nothing."""
    return part.register_forward_pre_hook(partial(_before, change, where))


def after(part: nn.Module, change: Any, *where: Any) -> RemovableHandle:
    """Register `change(*where, value)` on what a module returns; None changes nothing."""
    return part.register_forward_hook(partial(_after, change, where))


def _before(change: Any, where: tuple, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor] | None:
    if change.__self__.off:
        return None
    new = change(*where, args[0])
    return None if new is None else (new,)


def _after(change: Any, where: tuple, _: nn.Module, __: Any, out: Tensor) -> Tensor | None:
    return None if change.__self__.off else change(*where, out)


@dataclass(frozen=True, eq=False)
class Edit(ABC):
    """A fitted intervention: what it changes, in one model.

    Attributes:
        model: fingerprint of the model that it was fitted for.
    """

    model: str

    @property
    @abstractmethod
    def intervention(self) -> Intervention:
        """Its identity: kind, parameters, hashes of edges and directions, and version."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What it does, in a few words, for tables."""

    @abstractmethod
    def changes(self, model: ViT) -> Changes:
        """Return its hooks and their tensors, on the model's device."""

    @contextmanager
    def applied(self, model: ViT) -> Iterator[None]:
        """Edit the model while the `with` block runs; no hook is left behind, also after an error.

        Whole forward passes of the block run the edited model: `model.logits`, `model.pooled`, a stream from
        `model.embed` through `through_blocks` and `readout`, and `model.module` itself, with gradients. Outside the
        edit, q, k, v and the inputs of the MLPs are bit-identical to the plain model's. Prefer one block for many
        batches, since the tensors of the edit are prepared when it starts.

        Raises:
            InputError: another model than the one that the edit was fitted for.
        """
        self.check_fit(model)
        with installed(*self.changes(model).hooks(model.module)):
            yield

    def wrapped(self, model: ViT) -> nn.Module:
        """Return the edited model as a module of its own: normalised pixels to logits.

        The module is a copy with the tensors of the edit as buffers. It can be attacked, compiled by `torch.compile`,
        exported by `torch.export`, and its state saved and loaded again.

        Raises:
            InputError: another model than the one that the edit was fitted for.
        """
        self.check_fit(model)
        return EditedModel(model, self)

    def check_fit(self, model: ViT) -> None:
        """Check that a model is the one that the edit was fitted for.

        Raises:
            InputError: it is another one.
        """
        check_model("edit", self.model, model)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text}, model {self.model[:12]})"


def check_model(what: str, fingerprint: str, model: ViT) -> None:
    """Check that something was fitted on a model.

    Raises:
        InputError: it was fitted on another one.
    """
    if fingerprint != model.fingerprint:
        raise InputError(
            f"{what}: fitted on the model {fingerprint[:12]}, expected one that is fitted on {model.name} "
            f"({model.fingerprint[:12]}); fit it again on the model that is run"
        )


class EditedModel(nn.Module):
    """A copy of a model with an edit; see `Edit.wrapped`."""

    def __init__(self, model: ViT, edit: Edit) -> None:
        super().__init__()
        self.module = copy.deepcopy(model.module)
        self.changes = edit.changes(model)
        for part in self.changes.modules():
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, buffer.clone())  # the edit may keep the same memory
        for _ in self.changes.hooks(self.module):
            pass

    def forward(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image class"]:
        return self.module(images)
