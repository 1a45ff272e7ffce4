"""A linear classifier in a file, and how a classifier is attached to a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import InputError
from ..results import write_whole
from .assembly import SourceModule, copy_module
from .weights import existing_file, read_tensors

LABELS = "labels"
"""Key of the class names in a file's metadata: a JSON list."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """logits = weight · pooled stream + bias.

    Attributes:
        weight: one row per class.
        bias: one number per class.
        labels: name of each class, or None if unknown.
    """

    weight: Float[Tensor, "class width"]
    bias: Float[Tensor, "class"]
    labels: tuple[str, ...] | None = None

    @classmethod
    def zeros(cls, width: int, labels: Sequence[str]) -> LinearHead:
        """Return a head whose logits are all 0."""
        return cls(torch.zeros(len(labels), width), torch.zeros(len(labels)), tuple(labels))

    @classmethod
    def read(cls, path: str | PathLike[str]) -> LinearHead:
        """Read a head from a file: one matrix, `weight` under any prefix, and at most one vector, `bias`.

        Raises:
            InputError: the file is missing or holds something else.
        """
        try:
            file = existing_file(path, "head")
        except InputError as error:
            raise InputError(f"{error}; `circuitstore probe SPEC.toml` trains one on the images of a spec") from None
        tensors = read_tensors(file, "head")
        kinds = {name: name.rpartition(".")[2] for name in tensors}
        weight = next((t for name, t in tensors.items() if kinds[name] == "weight"), torch.empty(0))
        bias = next((t for name, t in tensors.items() if kinds[name] == "bias"), weight.new_zeros(len(weight)))
        known = sorted(kinds.values()) in (["weight"], ["bias", "weight"])
        if not known or weight.ndim != 2 or bias.shape != weight.shape[:1]:
            held = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:5])
            raise InputError(
                f"head: {file}: expected `weight` [class, width] and `bias` [class], got {held}; circuitstore probe "
                "writes such a file"
            )
        return cls(weight, bias, _labels(file, len(bias)))

    def save(self, path: str | Path) -> None:
        """Write the head to a safetensors file, atomically.

        Raises:
            InputError: the file cannot be written.
        """
        tensors = {"weight": self.weight.contiguous(), "bias": self.bias.contiguous()}
        write_whole(path, save(tensors, None if self.labels is None else {LABELS: json.dumps(self.labels)}))

    def to_module(self) -> nn.Linear:
        """Return the head as a layer."""
        layer = nn.Linear(self.weight.shape[1], len(self.weight), device="meta")
        layer.weight, layer.bias = nn.Parameter(self.weight), nn.Parameter(self.bias)
        return layer


def _labels(file: Path, count: int) -> tuple[str, ...] | None:
    """Return the class names in a file's metadata; None if it has none."""
    if file.suffix != ".safetensors":
        return None
    with safe_open(file, "pt") as opened:
        text = (opened.metadata() or {}).get(LABELS)
    try:
        names = None if text is None else json.loads(text)
    except ValueError:
        names = text
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(names) == count
    if names is not None and not valid:
        raise InputError(f"head: {file}: expected a JSON list of {count} names as its labels, got {text!r}")
    return None if names is None else tuple(names)


def attach(source: SourceModule, head: object) -> SourceModule:
    """Return a model with another classifier on its pooled tokens; None keeps its own.

    Args:
        source: the model; its module is changed.
        head: a file, see `LinearHead.read`; a layer; or names of classes, for a head of zeros.

    Raises:
        InputError: the head does not fit the model.
    """
    if head is None:
        return source
    module: Any = source.module
    if hasattr(module, "head_dist"):
        raise InputError(f"head: {source.name} has two classifiers (class and distillation token); expected one")
    if isinstance(head, nn.Module):
        module.head = copy_module(head)
        return replace(source, labels=None)
    width = _pooled_width(module)
    linear = LinearHead.read(head) if isinstance(head, str | PathLike) else LinearHead.zeros(width, _names(head))
    if linear.weight.shape[1] != width:
        raise InputError(
            f"head: it reads {linear.weight.shape[1]} values, but {source.name} pools its tokens to {width}; was it "
            "trained for another model?"
        )
    module.head = linear.to_module()
    name = f"{source.name}/{Path(head).stem}" if isinstance(head, str | PathLike) else source.name
    return replace(source, name=name, labels=linear.labels)


def _names(head: object) -> tuple[str, ...]:
    names = tuple(head) if isinstance(head, Sequence) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"head: expected a file, a layer or names of classes, got {head!r}")
    return names


@torch.no_grad()
def _pooled_width(module: Any) -> int:
    """Return the number of values that a model's classifier reads."""
    tokens = torch.zeros(1, module.num_prefix_tokens + module.patch_embed.num_patches, module.embed_dim)
    return module.eval().forward_head(tokens.to(next(module.parameters())), pre_logits=True).shape[-1]
