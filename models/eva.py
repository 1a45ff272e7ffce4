"""Convert timm's Eva family (EVA, EVA-02, rotary ViTs, Perception Encoder, DINOv3) to timm's VisionTransformer.

The result has the same tensors and parts in VisionTransformer's order: separate projections are concatenated, key and
value heads shared by several query heads are repeated, and the rotary embedding becomes part of the norms of q and k.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.layers.layer_scale import LayerScale
from timm.models.eva import Eva, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from ..errors import NotRepresentable
from .rotary import RotaryNorm

_SHARED = ("patch_embed", "cls_token", "reg_token", "pos_embed", "pos_drop", "norm_pre", "norm", "attn_pool")
_HEAD = ("fc_norm", "head_drop", "head")


def from_eva(eva: Any) -> VisionTransformer:
    """Return the same computation for images of the size that `eva` was built for; parts are shared, not copied.

    Raises:
        NotRepresentable: a projection is not a plain linear layer.
    """
    vit = VisionTransformer(
        img_size=eva.patch_embed.img_size,
        patch_size=eva.patch_embed.patch_size,
        num_classes=eva.num_classes,
        global_pool=eva.global_pool,
        embed_dim=eva.embed_dim,
        depth=0,
        num_heads=1,
        class_token=eva.cls_token is not None,
        reg_tokens=0 if eva.reg_token is None else eva.reg_token.shape[1],
        no_embed_class=eva.no_embed_class,
        pool_include_prefix=eva.attn_pool is not None,
        dynamic_img_size=eva.dynamic_img_size,
        weight_init="skip",
        device="meta",
    )
    for name in (*_SHARED, *_HEAD):
        setattr(vit, name, getattr(eva, name))
    tables = _tables(eva)
    blocks = zip(eva.blocks, tables, strict=True)
    vit.blocks = nn.Sequential(*(_block(b, t, eva.embed_dim, f"blocks.{i}") for i, (b, t) in enumerate(blocks)))
    vit.rope = eva.rope  # its parameters and settings are part of the model's identity
    return vit.eval()


def _tables(eva: Eva) -> Sequence[Tensor | None]:
    """Return each block's sines and cosines, in float64, as `Eva.forward` computes them."""
    if eva.rope is None:
        return [None] * len(eva.blocks)
    rope: Any = copy.deepcopy(eva.rope).double().eval()
    if eva.dynamic_img_size or not hasattr(rope, "feat_shape"):
        embed: Any = eva.patch_embed
        table = rope.get_embed(shape=embed.dynamic_feat_size(embed.img_size))
    else:
        table = rope.get_embed()
    table = table.detach()
    return list(table) if eva.rope_mixed else [table] * len(eva.blocks)


def _block(old: Any, table: Tensor | None, width: int, where: str) -> nn.Module:
    if type(old) is not EvaBlock:
        return old  # check_representable raises an error for it later
    new: Any = Block(width, num_heads=1, device="meta")
    new.norm1, new.attn, new.ls1 = old.norm1, _attention(old.attn, table, where), _scale(old.gamma_1)
    new.norm2, new.mlp, new.ls2 = old.norm2, old.mlp, _scale(old.gamma_2)
    new.drop_path1, new.drop_path2 = old.drop_path1, old.drop_path2
    return new


def _scale(gamma: nn.Parameter | None) -> nn.Module:
    if gamma is None:
        return nn.Identity()
    scale = LayerScale(len(gamma), device="meta")
    scale.gamma = gamma
    return scale


def _attention(old: Any, table: Tensor | None, where: str) -> Attention:
    weight, bias = _projection(old, where)
    width, heads = weight.shape[1], old.num_heads
    new: Any = Attention(width, heads, attn_head_dim=old.head_dim, qkv_bias=bias is not None, device="meta")
    new.qkv.weight = nn.Parameter(weight)
    if bias is not None:
        new.qkv.bias = nn.Parameter(bias)
    new.q_norm, new.k_norm = old.q_norm, old.k_norm
    if table is not None:
        table = table.to(weight.device)
        new.q_norm, new.k_norm = (
            RotaryNorm(norm, table, old.num_prefix_tokens, bool(old.rotate_half)) for norm in (old.q_norm, old.k_norm)
        )
    new.norm, new.gate, new.proj = old.norm, old.gate, old.proj
    new.attn_drop, new.proj_drop = old.attn_drop, old.proj_drop
    return new


def _projection(old: Any, where: str) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of q, k and v of all heads, in the order of timm's qkv."""
    parts = [old.qkv] if old.qkv is not None else [old.q_proj, old.k_proj, old.v_proj]
    for part in parts:
        if type(part) is not nn.Linear:
            raise NotRepresentable(
                f"{where}.attn: a projection is a {type(part).__name__}; expected a plain nn.Linear "
                "(merge adapters and undo quantisation first)"
            )
    if old.qkv is not None:
        biases = [old.qkv.bias] if getattr(old, "q_bias", None) is None else [old.q_bias, old.k_bias, old.v_bias]
        return old.qkv.weight.detach(), None if biases[0] is None else torch.cat(biases).detach()
    weights = [_per_head(part.weight, old) for part in parts]
    if all(part.bias is None for part in parts):
        return torch.cat(weights).detach(), None
    biases = [p.weight.new_zeros(len(p.weight)) if p.bias is None else p.bias for p in parts]
    return torch.cat(weights).detach(), torch.cat([_per_head(bias, old) for bias in biases]).detach()


def _per_head(rows: Tensor, attn: Any) -> Tensor:
    """Return one group of rows per query head: shared key and value heads are repeated."""
    grouped = rows.unflatten(0, (-1, attn.head_dim))
    return grouped.repeat_interleave(attn.num_heads // len(grouped), dim=0).flatten(0, 1)
