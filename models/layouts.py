"""Rebuild vision transformers of Hugging Face's transformers and of torchvision as timm's, with the same tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .weights import fill

Layout = Sequence[tuple[str, str]]
"""Patterns of names and their replacements, which are applied one after the other."""

TORCHVISION: Layout = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
    (r"^heads\.(?:head|0)\.", "head."),
)

HUGGING_FACE: Layout = (
    (r"^(?:vit|deit|dinov2|dinov2_with_registers)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.(?:distillation_token|register_tokens)$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.", r"blocks.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.q_proj\.", ".attn.query."),
    (r"\.attention\.k_proj\.", ".attn.key."),
    (r"\.attention\.v_proj\.", ".attn.value."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.(?:intermediate\.dense|mlp\.weights_in)\.", ".mlp.fc1."),
    (r"\.(?:output\.dense|mlp\.weights_out|mlp\.down_proj)\.", ".mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^(?:classifier|cls_classifier)\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
)
"""Files, and modules of transformers 4 and 5, have different names for the same tensors."""

_CONCATENATED = {
    ".attn.qkv.": (".attn.query.", ".attn.key.", ".attn.value."),
    ".mlp.fc1.": (".mlp.gate_proj.", ".mlp.up_proj."),
}


def named_as_timm(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Return the tensors by timm's names, those that timm keeps in one tensor concatenated; unknown names stay."""
    found = {_renamed(name, layout): tensor for name, tensor in tensors.items()}
    for whole, (first, *others) in _CONCATENATED.items():
        for name in [name for name in found if first in name]:
            parts = [name, *(name.replace(first, other) for other in others)]
            if all(part in found for part in parts):
                found[name.replace(first, whole)] = torch.cat([found.pop(part) for part in parts])
    return found


def _renamed(name: str, layout: Layout) -> str:
    for pattern, replacement in layout:
        name = re.sub(pattern, replacement, name)
    return name


def torchvision_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the tensors of torchvision's VisionTransformer, with any prefix, by timm's names; None if not its own."""
    key = next((name for name in tensors if name.endswith("encoder.pos_embedding")), None)
    if key is None:
        return None
    prefix = key.removesuffix("encoder.pos_embedding")
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return named_as_timm(own, TORCHVISION)


def mlp_ratio(width: int, hidden: int) -> float:
    """Return a ratio for which timm's MLP has exactly `hidden` units: it rounds down."""
    return (hidden + 0.5) / width


def on_meta(create: Callable[[], nn.Module]) -> Any:
    """Create a model without values."""
    with torch.device("meta"):
        return create()


def filled(skeleton: nn.Module, tensors: Mapping[str, Tensor], where: str) -> Any:
    """Return a model without values with copies of all of its tensors.

    Raises:
        InputError: a name or shape does not fit; the message names `where`.
    """
    module = skeleton.to_empty(device="cpu")
    fill(module, tensors, where)
    return module.eval()
