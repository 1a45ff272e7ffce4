"""A model's identity: what it computes and how it wants its images, independent of library versions.

What it computes is described by three things together: the settings of its parts, the values of its tensors, and its
answer to one fixed image. The same tensors with another number of heads, another slope of an activation, another head
around them, or another preprocessing, are another model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from timm.layers.patch_dropout import PatchDropout
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ..circuits import digest
from .preprocess import Preprocess
from .probe import summary
from .representable import NORMS

_TRAINING_ONLY = (nn.Identity, _DropoutNd, DropPath, PatchDropout)

_OF_LIBRARIES = (
    "eps", "approximate", "num_heads", "scale", "global_pool", "num_prefix_tokens", "num_reg_tokens", "has_class_token",
    "no_embed_class", "pool_include_prefix", "dynamic_img_size", "dynamic_img_pad", "grid_size", "pool", "chunk_dim",
    "gate_last", "dim", "temperature", "min_period", "max_period", "max_res", "in_pixels", "linear_bands", "feat_shape",
    "ref_feat_shape", "grid_offset", "grid_indexing", "mrope_section",
)  # fmt: skip
"""Settings of timm's parts and of norms that enter what is computed; others differ between versions of timm."""

_NOT_COMPUTED = ("training", "inplace")


def fingerprint(computation: str, preprocess: Preprocess) -> str:
    """Hash (hex) of what a model computes, see `computation`, and of its preprocessing."""
    return digest({"computation": computation, "preprocess": preprocess.to_dict()})


def computation(contents: str, answer: Float[Tensor, "class"]) -> str:
    """Hash (hex) of what a model computes: its `contents`, and its logits for the fixed image, see `probe`."""
    return digest({"contents": contents, "answer": summary(answer)})


def contents(module: nn.Module) -> str:
    """Hash (hex) of the settings of a model's parts and of its tensors."""
    check = hashlib.sha256(digest(list(_parts(module))).encode())
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            check.update(f"\n{name} {tuple(tensor.shape)}\n".encode())
            check.update(_canonical(tensor))
    return check.hexdigest()


def _parts(module: nn.Module) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Every part that computes something: its place, its class, and the settings that its tensors do not hold."""
    for name, part in module.named_modules():
        if not isinstance(part, _TRAINING_ONLY):
            yield name, type(part).__name__, _settings(part)


def _settings(part: nn.Module) -> dict[str, str]:
    """Plain public attributes by name; what is off is left out, since later versions bring more of that."""
    of_library = type(part).__module__.startswith("timm.") or isinstance(part, NORMS)
    names = _OF_LIBRARIES if of_library else [n for n in vars(part) if n[0] != "_" and n not in _NOT_COMPUTED]
    found = {name: _plain(getattr(part, name, None)) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any) -> str | None:
    """A setting as text; None where it is off, or no plain value."""
    if isinstance(value, list | tuple):
        inner = [_plain(v) for v in value]
        return None if None in inner else f"({', '.join(map(str, inner))})"
    if value is None or value is False:
        return None
    if isinstance(value, bool | int | float | str):
        return repr(value)
    return getattr(value, "__qualname__", None) if callable(value) and not isinstance(value, nn.Module) else None


def _canonical(tensor: Tensor) -> bytes:
    """Little-endian bytes of the values: floats as float32 wherever that loses nothing, so a cast back is no change."""
    value = tensor.detach().cpu()
    if value.is_floating_point():
        single = value.to(torch.float32)
        exact = value.dtype != torch.float64 or torch.equal(single.to(torch.float64), value)
        value = (single if exact else value) + 0.0  # one zero
    array = value.contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
