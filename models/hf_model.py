"""A model of Hugging Face's transformers, as its configuration describes it, and the same model in timm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers.activations import QuickGELU
from timm.layers.mlp import SwiGLUPacked
from timm.layers.norm import LayerNorm
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import InputError, NotRepresentable, unknown
from .grid import Size, parse_size
from .layouts import HUGGING_FACE, mlp_ratio, named_as_timm
from .pooling import ClassAndMean


class HfClass(NamedTuple):
    """A class of transformers.

    Attributes:
        family: `model_type` of its configuration.
        reads: what its classifier reads: `class`, the class token; `mean`, also the mean of the patches; `both`, with a
            classifier each, the class and the distillation token; None: there is no classifier.
    """

    family: str
    reads: str | None


CLASSES = {
    "ViTForImageClassification": HfClass("vit", "class"),
    "DeiTForImageClassification": HfClass("deit", "class"),
    "DeiTForImageClassificationWithTeacher": HfClass("deit", "both"),
    "Dinov2ForImageClassification": HfClass("dinov2", "mean"),
    "Dinov2WithRegistersForImageClassification": HfClass("dinov2_with_registers", "mean"),
    "ViTModel": HfClass("vit", None),
    "DeiTModel": HfClass("deit", None),
    "Dinov2Model": HfClass("dinov2", None),
    "Dinov2WithRegistersModel": HfClass("dinov2_with_registers", None),
}
"""The supported classes, by name."""

_COMMON = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "mlp_ratio": 4,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 224, "patch_size": 16, "num_channels": 3,
    "qkv_bias": True, "use_swiglu_ffn": False, "num_register_tokens": 4,
}  # fmt: skip
"""What transformers assumes for fields that a configuration lacks; DINOv2's differ in part."""
_DINOV2 = {"layer_norm_eps": 1e-6, "patch_size": 14}

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_new": partial(nn.GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
}

_UNUSED = ("mask_token", "pooler.")
"""Tensors that classification does not use."""


class HfModel:
    """A configuration and its tensors.

    Args:
        config: the configuration's fields.
        cls: the class.
        tensors: tensors by transformers' names.
        where: the folder or class, for messages.

    Attributes:
        size: height and width of the images that the configuration describes.
        labels: name of each class; None if the configuration has only transformers' placeholders.

    Raises:
        InputError: an activation or a size that is not supported.
        NotRepresentable: a quantised or pruned model.
    """

    def __init__(self, config: Mapping[str, Any], cls: HfClass, tensors: Mapping[str, Tensor], where: str) -> None:
        self.cls, self.where, self.is_dinov2 = cls, where, cls.family.startswith("dinov2")
        self._config = _COMMON | (_DINOV2 if self.is_dinov2 else {}) | dict(config)
        for field in ("quantization_config", "pruned_heads"):
            if config.get(field):
                raise NotRepresentable(f"{where}: {field} = {config[field]!r} is not supported; save the plain model")
        if self._config["hidden_act"] not in _ACTIVATIONS:
            raise unknown("activation", self._config["hidden_act"], _ACTIVATIONS, where=f"{where}: hidden_act")
        self.size, self._patch = _sides(self._config["image_size"]), _sides(self._config["patch_size"])
        self.labels = _labels(config)
        used = {name: tensor for name, tensor in tensors.items() if not any(part in name for part in _UNUSED)}
        self._tensors = named_as_timm(used, HUGGING_FACE)

    @property
    def registers(self) -> int:
        """Number of tokens between the class token and the patches."""
        if self.cls.family == "deit":
            return 1
        return self._config["num_register_tokens"] if self.has_registers else 0

    @property
    def has_registers(self) -> bool:
        """Whether the model has DINOv2's registers, which have no position embeddings."""
        return self.cls.family == "dinov2_with_registers"

    def skeleton(self, size: Size) -> Any:
        """Create the timm model for images of a size; call it on the meta device.

        Raises:
            InputError: the configuration does not describe a model.
        """
        head = self._tensors.get("head.weight")
        try:
            arguments = {"img_size": size, "num_classes": 0 if head is None else len(head), **self._arguments()}
            if self.cls.reads == "both":
                return VisionTransformerDistilled(**arguments)
            vit: Any = VisionTransformer(**arguments, reg_tokens=self.registers, no_embed_class=self.has_registers)
        except Exception as error:  # timm checks arguments with assertions and errors of all kinds
            raise InputError(
                f"{self.where}: timm could not create the model of this configuration ({type(error).__name__}: {error})"
            ) from error
        if self.cls.reads == "mean":
            vit.attn_pool, vit.pool_include_prefix = ClassAndMean(1 + self.registers), True
            vit.head = nn.Linear(2 * vit.embed_dim, vit.num_classes) if vit.num_classes else nn.Identity()
        return vit

    def _arguments(self) -> dict[str, Any]:
        config = self._config
        return {
            "patch_size": self._patch,
            "in_chans": config["num_channels"],
            "embed_dim": config["hidden_size"],
            "depth": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"],
            "qkv_bias": config["qkv_bias"],
            "init_values": 1.0 if self.is_dinov2 else None,
            "norm_layer": partial(LayerNorm, eps=config["layer_norm_eps"]),
            "weight_init": "skip",
            **self._mlp(),
        }

    def _mlp(self) -> dict[str, Any]:
        config, width = self._config, self._config["hidden_size"]
        hidden = int(width * config["mlp_ratio"]) if self.is_dinov2 else config["intermediate_size"]
        if self.is_dinov2 and config["use_swiglu_ffn"]:
            hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
            return {"mlp_ratio": mlp_ratio(width, hidden), "mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
        return {"mlp_ratio": mlp_ratio(width, hidden), "act_layer": _ACTIVATIONS[config["hidden_act"]]}

    def tensors(self, size: Size) -> dict[str, Tensor]:
        """Return the tensors by timm's names, with position embeddings for images of a size.

        Raises:
            InputError: position embeddings that cannot be resampled to that size.
        """
        found = dict(self._tensors)
        if self.cls.reads == "both" and "reg_token" in found:
            found["dist_token"] = found.pop("reg_token")
        if "pos_embed" in found:
            found["pos_embed"] = self._positions(found["pos_embed"], size)
        if self.has_registers and {"pos_embed", "cls_token"} <= found.keys():  # timm adds the embedding to the token
            found["cls_token"] = found["cls_token"] + found["pos_embed"][:, :1]
            found["pos_embed"] = found["pos_embed"][:, 1:]
        return found

    def _positions(self, embeddings: Tensor, size: Size) -> Tensor:
        """Return position embeddings as transformers resamples them: DINOv2's also if only the image is no square."""
        if size == self.size and not (self.is_dinov2 and size[0] != size[1]):
            return embeddings
        prefix = 2 if self.cls.family == "deit" else 1
        grid = size[0] // self._patch[0], size[1] // self._patch[1]
        patches = embeddings[:, prefix:]
        side = isqrt(patches.shape[1])
        if side * side != patches.shape[1]:
            raise InputError(
                f"{self.where}: its {patches.shape[1]} position embeddings are not those of a square, so transformers "
                f"cannot resample them to {grid[0]} × {grid[1]} patches"
            )
        square = patches.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
        resampled = F.interpolate(square, grid, mode="bicubic", align_corners=False, antialias=self.has_registers)
        return torch.cat([embeddings[:, :prefix], resampled.flatten(2).transpose(1, 2).to(embeddings)], dim=1)


def _sides(size: Any) -> Size:
    sides = parse_size(size)
    assert sides is not None
    return sides


def _labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    by_index = {int(index): str(name) for index, name in (config.get("id2label") or {}).items()}
    names = tuple(by_index[index] for index in sorted(by_index))
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names
