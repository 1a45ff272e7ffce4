"""Convert open_clip's image tower to timm's VisionTransformer, with the same tensors."""

from __future__ import annotations

from typing import Any

from timm.layers.attention import Attention
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from ..errors import NotRepresentable
from .representable import check_family


def tower_of(visual: Any) -> tuple[Any, list[nn.Module]]:
    """Return the tower as a timm model, and the layers after its pooling; parts are shared, not copied.

    Raises:
        NotRepresentable: the tower is not a plain vision transformer; the message says why.
    """
    match type(visual).__name__:
        case "VisionTransformer":
            return _own_tower(visual), [_projection(visual)]
        case "TimmModel":
            check_family(visual.trunk)
            return visual.trunk, [visual.trunk.head, visual.head]
        case name:
            raise NotRepresentable(f"the image tower is a {name}; expected a plain vision transformer")


def _own_tower(visual: Any) -> VisionTransformer:
    """Convert open_clip's VisionTransformer to timm's."""
    if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
        raise NotRepresentable("the image tower pools with learnt queries (CoCa), which is not supported yet")
    width = visual.conv1.out_channels
    vit = VisionTransformer(
        img_size=visual.image_size,
        patch_size=visual.patch_size,
        global_pool="token" if visual.pool_type == "tok" else "avg",
        embed_dim=width,
        depth=0,
        num_heads=1,
        weight_init="skip",
        device="meta",
    )
    vit.patch_embed.proj = visual.conv1
    vit.cls_token = nn.Parameter(visual.class_embedding.detach()[None, None])
    vit.pos_embed = nn.Parameter(visual.positional_embedding.detach()[None])
    vit.norm_pre, last = _norm(visual.ln_pre), _norm(visual.ln_post)
    vit.norm, vit.fc_norm = (nn.Identity(), last) if visual.final_ln_after_pool else (last, nn.Identity())
    blocks = visual.transformer.resblocks
    vit.blocks = nn.Sequential(*(_block(block, width, f"resblocks.{i}") for i, block in enumerate(blocks)))
    return vit.eval()


def _norm(old: Any) -> nn.Module:
    if isinstance(old, nn.Identity):
        return old
    new = nn.LayerNorm(old.normalized_shape, eps=old.eps, device="meta")
    new.weight, new.bias = old.weight, old.bias
    return new


def _block(old: Any, width: int, where: str) -> Block:
    if type(old).__name__ != "ResidualAttentionBlock":
        raise NotRepresentable(f"{where} is a {type(old).__name__}; expected open_clip's plain ResidualAttentionBlock")
    new: Any = Block(width, num_heads=1, device="meta")
    new.norm1, new.attn, new.ls1 = _norm(old.ln_1), _attention(old.attn, width), _scale(old.ls_1)
    new.norm2, new.ls2 = _norm(old.ln_2), _scale(old.ls_2)
    new.mlp = Mlp(width, device="meta")
    new.mlp.fc1, new.mlp.act, new.mlp.fc2 = old.mlp.c_fc, old.mlp.gelu, old.mlp.c_proj
    return new


def _scale(old: Any) -> nn.Module:
    if isinstance(old, nn.Identity):
        return old
    new = LayerScale(len(old.gamma), device="meta")
    new.gamma = old.gamma
    return new


def _attention(old: Any, width: int) -> Attention:
    new = Attention(width, old.num_heads, qkv_bias=True, device="meta")
    new.qkv.weight, new.qkv.bias = old.in_proj_weight, old.in_proj_bias
    new.proj.weight, new.proj.bias = old.out_proj.weight, old.out_proj.bias
    return new


def _projection(visual: Any) -> nn.Linear:
    linear = nn.Linear(*visual.proj.shape, bias=False, device="meta")
    linear.weight = nn.Parameter(visual.proj.detach().T.contiguous())
    return linear
