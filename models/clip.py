"""CLIP, SigLIP and their kin from open_clip: the image tower with a zero-shot head over classes told in words.

open_clip's own tower is put together as timm's VisionTransformer; a tower that is timm's is taken as it is. The text
tower runs once, to embed the prompts, and is no part of the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from ..errors import CircuitStoreError, InputError, NotRepresentable, optional, unknown
from .ambient import plain_torch
from .families import hold_same
from .load import load_model
from .representable import check_family, check_finite_weights
from .vit import ViT
from .zero_shot import ZeroShotHead, length_errors

TEMPLATES = ("a photo of a {}.",)

Tokenizer = Callable[[list[str]], Tensor]
"""From texts to token indices `[text, token]`."""


@plain_torch()
def load_clip(
    source: str | nn.Module,
    classes: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
    *,
    tokenizer: Tokenizer | None = None,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    seed: int = 0,
) -> ViT:
    """A CLIP model's image tower, whose classes are told in words.

    Args:
        source: open_clip's name (`"ViT-B-32"`; OpenAI's own weights want the names that end in `-quickgelu`), or a
            model that open_clip made, which is copied and left as it is.
        classes: a name for each class; they become the labels.
        templates: prompts with `{}` where the name goes; a class is the mean over them, scaled to length 1.
        tokenizer: needed beside a module; a name brings its own.
        pretrained: tag of published weights (needs the network unless they are cached).
        checkpoint: file of weights.
        image_size: pixels, where it is not the model's own; position embeddings are resampled.
        device, dtype, seed: as in `load_model`.

    Raises:
        NotRepresentable: a tower that is no plain vision transformer; says why.
        InputError: names or templates that make no prompts, an unknown name, weights that do not fit.
        CircuitStoreError: open_clip is not installed, or weights or tokenizer could not be had.
    """
    _check_prompts(classes, templates)
    if isinstance(source, nn.Module):
        if tokenizer is None or pretrained or checkpoint or image_size:
            raise InputError("a CLIP module takes a tokenizer beside it, and no weights and no image size")
        clip, name = copy.deepcopy(source), type(source).__name__
    else:
        clip, name = _create(source, pretrained, checkpoint, image_size, seed), source
        tokenizer = tokenizer or _tokenizer(source)
    check_finite_weights(clip)
    stored = next(clip.parameters()).dtype
    text = text_embeddings(clip.double(), tokenizer, classes, templates).to(stored)  # alike on every machine
    return load_model(
        zero_shot(clip.to(stored), text, name=name), device=device, dtype=dtype, labels=tuple(classes), seed=seed
    )


def text_embeddings(
    clip: nn.Module, tokenizer: Tokenizer, classes: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> Float[Tensor, "class width"]:
    """Each class's prompts embedded, scaled to length 1, averaged and scaled again, as open_clip does."""
    _check_prompts(classes, templates)
    build = optional("open_clip", "clip").build_zero_shot_classifier
    place = next(clip.parameters()).device
    return build(clip.eval(), tokenizer, list(classes), list(templates), device=place).T.contiguous()


def zero_shot(clip: Any, text: Float[Tensor, "class width"], name: str = "clip") -> nn.Module:
    """A copy of the image tower with a head of text embeddings, for `load_model`.

    Raises:
        NotRepresentable: a tower that is no plain vision transformer; says why.
        InputError: text embeddings of another width than the image's, or of another length than 1.
    """
    visual = copy.deepcopy(clip.eval().visual)
    tower, projection = _tower(visual)
    _check_text(text, clip)
    bias = getattr(clip, "logit_bias", None)
    tower.head = nn.Sequential(*projection, ZeroShotHead(text, clip.logit_scale, bias))
    tower.num_classes = len(text)
    tower.pretrained_cfg = {"architecture": name, **_preprocess(visual)}
    hold_same(name, _logits(clip, text, bias), tower, visual.image_size, next(clip.parameters()))
    return tower


def _logits(clip: Any, text: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """open_clip's own logits, from its own tower."""

    def logits(images: Tensor) -> Tensor:
        cosines = clip.encode_image(images, normalize=True) @ text.T
        return clip.logit_scale.exp() * cosines + (0 if bias is None else bias)

    return logits


def _check_prompts(classes: Sequence[str], templates: Sequence[str]) -> None:
    if isinstance(classes, str) or not classes or not all(isinstance(c, str) and c.strip() for c in classes):
        raise InputError(f"classes: expected a list of names, one per class, got {classes!r}")
    if len(set(classes)) < len(classes):
        twice = next(c for i, c in enumerate(classes) if c in classes[:i])
        raise InputError(f"classes: {twice!r} is there twice; classes of the same name have the same logits")
    bad = [t for t in templates if not isinstance(t, str) or t.count("{}") != 1]
    if isinstance(templates, str) or not templates or bad:
        raise InputError(f"templates: expected prompts with one {{}} each, where the name goes, got {templates!r}")


def _check_text(text: Tensor, clip: Any) -> None:
    with torch.no_grad():
        image = torch.zeros(1, 3, *clip.visual.image_size).to(next(clip.parameters()))
        width = clip.encode_image(image).shape[-1]
    if text.ndim != 2 or text.shape[1] != width:
        raise InputError(f"text: expected embeddings [class, {width}], got {tuple(text.shape)}")
    if not bool((length_errors(text) < 1e-2).all()):
        raise InputError("text: expected embeddings of length 1; divide each by its norm")


def _create(
    name: str,
    pretrained: str | None,
    checkpoint: str | Path | None,
    image_size: int | tuple[int, int] | None,
    seed: int,
) -> Any:
    library = optional("open_clip", "clip")
    if pretrained is not None and checkpoint is not None:
        raise InputError("pretrained and checkpoint exclude each other: say which weights are meant")
    if ":" not in name and name not in library.list_models():
        raise unknown("model", name, library.list_models())
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise InputError(f"checkpoint: no file at {checkpoint}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            weights = str(checkpoint) if checkpoint is not None else pretrained
            return library.create_model(name, pretrained=weights, force_image_size=image_size)
        except Exception as error:
            raise CircuitStoreError(f"{name}: open_clip could not make it ({type(error).__name__}: {error})") from error


def _tokenizer(name: str) -> Tokenizer:
    try:
        return optional("open_clip", "clip").get_tokenizer(name)
    except Exception as error:
        raise CircuitStoreError(
            f"{name}: open_clip could not get its tokenizer ({type(error).__name__}: {error}); give one as tokenizer="
        ) from error


def _preprocess(visual: Any) -> dict[str, Any]:
    """What open_clip says of the images, by timm's names."""
    told = getattr(visual, "preprocess_cfg", {})
    modes = {"shortest": "center", "squash": "squash"}
    if (mode := told.get("resize_mode", "shortest")) not in modes:
        raise NotRepresentable(f"images are resized by {mode!r}; expected one of {', '.join(modes)}")
    same = {key: told[key] for key in ("mean", "std", "interpolation") if key in told}
    return {"input_size": (3, *visual.image_size), "crop_pct": 1.0, "crop_mode": modes[mode], **same}


def _tower(visual: Any) -> tuple[Any, list[nn.Module]]:
    """The tower in timm's parts, and what follows its pooling."""
    match type(visual).__name__:
        case "VisionTransformer":
            return _own_tower(visual), [_projection(visual)]
        case "TimmModel":
            check_family(visual.trunk)
            return visual.trunk, [visual.trunk.head, visual.head]
        case name:
            raise NotRepresentable(f"the image tower is a {name}; expected a plain vision transformer")


def _own_tower(visual: Any) -> VisionTransformer:
    """open_clip's VisionTransformer as timm's."""
    if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
        raise NotRepresentable("the image tower pools by queries of its own (CoCa), which is not represented yet")
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
