"""A model's identity: what it computes and how it wants its images, independent of library versions.

SHA-256 over the architecture arguments, the preprocessing, and every tensor's name, shape and values.
The same tensors with another number of heads, or with another preprocessing, are another model.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.layers.patch_dropout import PatchDropout
from torch import Tensor, nn

from ..circuits import digest
from .preprocess import Preprocess

_TRAINING_ONLY = (nn.Identity, nn.Dropout, DropPath, PatchDropout)


def fingerprint(module: nn.Module, preprocess: Preprocess) -> str:
    """Hash of architecture, preprocessing and weights (hex)."""
    check = hashlib.sha256(digest({"model": architecture(module), "preprocess": preprocess.to_dict()}).encode())
    for name, tensor in sorted(module.state_dict().items()):
        check.update(f"\n{name} {tuple(tensor.shape)}\n".encode())
        check.update(_canonical(tensor))
    return check.hexdigest()


def architecture(module: Any) -> dict[str, Any]:
    """What tensors do not tell: head counts, norms with their eps, activations, pooling, token layout."""
    flags = ("global_pool", "num_prefix_tokens", "num_reg_tokens", "has_class_token", "no_embed_class")
    return {
        "class": type(module).__name__,
        **{name: getattr(module, name) for name in (*flags, "pool_include_prefix", "dynamic_img_size")},
        "patch_embed": [type(module.patch_embed).__name__, bool(getattr(module.patch_embed, "dynamic_img_pad", False))],
        "heads": [[block.attn.num_heads, float(block.attn.scale)] for block in module.blocks],
        "attn_pool": None
        if module.attn_pool is None
        else [type(module.attn_pool).__name__, module.attn_pool.num_heads],
        "functions": sorted(_functions(module)),
        **({} if getattr(module, "rope", None) is None else {"rotary": _rotary(module)}),
    }


_ROTARY = (
    "dim", "temperature", "min_period", "max_period", "max_res", "in_pixels", "linear_bands", "feat_shape",
    "ref_feat_shape", "grid_offset", "grid_indexing", "normalize_coords", "mrope_section",
)  # fmt: skip


def _rotary(module: Any) -> dict[str, Any]:
    """Where the turns of q and k come from: the embedding's class and settings, by timm's names; None: it has none."""
    half = [block.attn.q_norm.rotate_half for block in module.blocks]
    settings = {name: getattr(module.rope, name, None) for name in _ROTARY}
    return {
        "class": type(module.rope).__name__,
        "rotate_half": half,
        "grid": list(module.patch_embed.grid_size),
        **settings,
    }


def _functions(module: nn.Module) -> list[list[str]]:
    """Norms and activations: name of the module, its class, and the numbers that its tensors do not hold."""
    found = []
    for name, part in module.named_modules():
        if hasattr(part, "eps"):
            found.append([name, type(part).__name__, f"{part.eps:g}"])
        elif not isinstance(part, _TRAINING_ONLY) and not list(part.children()) and not list(part.parameters()):
            found.append([name, type(part).__name__, str(getattr(part, "approximate", ""))])
    return found


def _canonical(tensor: Tensor) -> bytes:
    """Little-endian bytes of the values: floats as float32 wherever that loses nothing, so a cast back is no change."""
    value = tensor.detach().cpu()
    if value.is_floating_point():
        single = value.to(torch.float32)
        exact = value.dtype != torch.float64 or torch.equal(single.to(torch.float64), value)
        value = (single if exact else value) + 0.0  # one zero
    array = value.contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
