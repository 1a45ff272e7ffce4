"""One tiny model of every supported family, as its own library builds it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from circuitstore.models import zero_shot
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transform import PreprocessCfg
from timm.layers.mlp import SwiGLU
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .conftest import enliven, prepared

SMALL = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 4, "num_classes": 5}
ROTARY = {"factory": Eva, "attn_type": "rope", "use_rot_pos_emb": True}

FAMILIES: dict[str, dict] = {
    "ViT, patches of 8": {"img_size": 16, "patch_size": 8},
    "ViT, patches of 32, wide image": {"img_size": (32, 96), "patch_size": 32},
    "DeiT, distilled": {"factory": VisionTransformerDistilled},
    "DINOv2": {"init_values": 0.3, "reg_tokens": 2, "no_embed_class": True, "mlp_layer": SwiGLU},
    "SigLIP": {"global_pool": "map", "class_token": False},
    "EVA": {"factory": Eva},
    "EVA-02": {
        "factory": Eva, "use_rot_pos_emb": True, "swiglu_mlp": True, "scale_mlp": True, "qkv_fused": False,
        "ref_feat_shape": 3,
    },
    "rotary, learnt and per head": {**ROTARY, "rope_type": "mixed", "global_pool": "token", "num_reg_tokens": 1},
    "DINOv3": {
        **ROTARY, "rope_type": "dinov3", "rope_rotate_half": True, "num_reg_tokens": 2, "use_abs_pos_emb": False,
        "init_values": 0.3, "dynamic_img_size": True, "no_embed_class": True, "swiglu_mlp": True,
        "swiglu_align_to": 8, "use_fc_norm": False, "num_heads": 2,
    },
    "Perception Encoder": {
        **ROTARY, "use_pre_transformer_norm": True, "global_pool": "map", "attn_pool_num_heads": 4,
    },
    "shared key and value heads": {**ROTARY, "qkv_fused": False, "num_kv_heads": 2, "qk_norm": True},
}  # fmt: skip


TEXT = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
TOWER = {"layers": 2, "width": 16, "head_width": 4, "image_size": 16, "patch_size": 8}
SIGLIP = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none", "image_size": 160}

CLIPS: dict[str, Callable[[], nn.Module]] = {
    "CLIP": lambda: CLIP(12, TOWER, TEXT, quick_gelu=True),
    "CLIP, average of the patches": lambda: CLIP(
        16, TOWER | {"ls_init_value": 0.3, "pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True}, TEXT
    ),
    "SigLIP with its bias": lambda: CustomTextCLIP(96, SIGLIP, TEXT, init_logit_bias=-10.0),
}


def build_clip(name: str) -> nn.Module:
    """An open_clip model in float64, all its weights live, logits of the size of 10."""
    clip = enliven(CLIPS[name]().double()).eval()
    open_clip.model.set_model_preprocess_cfg(clip, asdict(PreprocessCfg()))
    with torch.no_grad():
        clip.logit_scale.fill_(2.0)
    return clip


def tiny_config(folder: Path) -> None:
    """Let open_clip know a CLIP by the name of "tiny", of two layers, for images of 32 pixels."""
    tower = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16}
    path = folder / "tiny.json"
    path.write_text(json.dumps({"embed_dim": 12, "vision_cfg": tower, "text_cfg": TEXT}))
    open_clip.add_model_config(path)


def text(width: int, classes: int = 5) -> torch.Tensor:
    """Random text embeddings of length 1."""
    values = torch.randn(classes, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return F.normalize(values, dim=-1)


def build(name: str, seed: int = 0, **changes) -> nn.Module:
    """A family's model in float64, all its weights live: 8 × 8 pixels and 5 classes where nothing else is said."""
    if name == "CLIP":
        return zero_shot(build_clip(name), text(12))
    arguments = SMALL | FAMILIES[name] | changes
    factory = arguments.pop("factory", VisionTransformer)
    return prepared(enliven(factory(**arguments).double(), seed).eval())
