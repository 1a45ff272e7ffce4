"""A model's identity: what it computes and its preprocessing, independent of library versions.

Three things together describe what it computes: the settings of its parts, the values of its tensors, and its logits
for one fixed image. The same tensors with another number of heads, another slope of an activation, another classifier
or another preprocessing are another model.
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
from .fixed_image import summary
from .preprocess import Preprocess
from .representable import NORMS

_TRAINING_ONLY = (nn.Identity, _DropoutNd, DropPath, PatchDropout)

_OF_LIBRARIES = (
    "eps", "approximate", "num_heads", "scale", "global_pool", "num_prefix_tokens", "num_reg_tokens", "has_class_token",
    "no_embed_class", "pool_include_prefix", "dynamic_img_size", "dynamic_img_pad", "grid_size", "pool", "chunk_dim",
    "gate_last", "dim", "temperature", "min_period", "max_period", "max_res", "in_pixels", "linear_bands", "feat_shape",
    "ref_feat_shape", "grid_offset", "grid_indexing", "mrope_section",
)  # fmt: skip
"""Settings of timm's parts and of norms that affect the computation; others differ between versions of timm."""

_NOT_COMPUTED = ("training", "inplace")


def fingerprint(computation: str, preprocess: Preprocess) -> str:
    """Return the hash (hex) of what a model computes, see `computation`, and of its preprocessing."""
    return digest({"computation": computation, "preprocess": preprocess.to_dict()})


def computation(contents: str, logits: Float[Tensor, "class"]) -> str:
    """Return the hash (hex) of what a model computes: its `contents`, and its logits from `fixed_logits`."""
    return digest({"contents": contents, "answer": summary(logits)})


def contents(module: nn.Module) -> str:
    """Return the hash (hex) of the settings of a model's parts and of its tensors."""
    check = hashlib.sha256(digest(list(_parts(module))).encode())
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            check.update(f"\n{name} {tuple(tensor.shape)}\n".encode())
            check.update(_canonical(tensor))
    return check.hexdigest()


def _parts(module: nn.Module) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield name, class and settings of every part that computes something."""
    for name, part in module.named_modules():
        if not isinstance(part, _TRAINING_ONLY):
            yield name, type(part).__name__, _settings(part)


def _settings(part: nn.Module) -> dict[str, str]:
    """Return plain public attributes by name; options that are off are omitted, since new versions add more."""
    of_library = type(part).__module__.startswith("timm.") or isinstance(part, NORMS)
    names = _OF_LIBRARIES if of_library else [n for n in vars(part) if n[0] != "_" and n not in _NOT_COMPUTED]
    found = {name: _plain(getattr(part, name, None)) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any) -> str | None:
    """Return a setting as text; None if it is off or not a plain value."""
    if isinstance(value, list | tuple):
        inner = [_plain(v) for v in value]
        return None if None in inner else f"({', '.join(map(str, inner))})"
    if value is None or value is False:
        return None
    if isinstance(value, bool | int | float | str):
        return repr(value)
    return getattr(value, "__qualname__", None) if callable(value) and not isinstance(value, nn.Module) else None


def _canonical(tensor: Tensor) -> bytes:
    """Return the values as little-endian bytes; floats as float32 if exact, so casting back and forth is no change."""
    value = tensor.detach().cpu()
    if value.is_floating_point():
        single = value.to(torch.float32)
        exact = value.dtype != torch.float64 or torch.equal(single.to(torch.float64), value)
        value = (single if exact else value) + 0.0  # -0.0 becomes 0.0
    array = value.contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
