"""Image preprocessing: timm's resize and centre crop, then the model's normalisation.

The two steps are separate because attacks and corruptions work on the image between them: the view, an 8-bit image
as the model sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from timm.layers.helpers import to_2tuple
from torch import Tensor, nn

from ..circuits.recipe import identity_fields
from ..errors import InputError, check_known
from .ambient import plain_torch

CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
TIMM_NAMES = {
    "crop": "crop_pct",
    "crop_mode": "crop_mode",
    "interpolation": "interpolation",
    "mean": "mean",
    "std": "std",
}
"""timm's name of each field except the size."""


@dataclass(frozen=True)
class Preprocess:
    """How a model expects its images.

    Attributes:
        size: height and width in pixels.
        crop: share of the resized image that the centre crop keeps, in (0, 1]; timm's `crop_pct`.
        crop_mode: `center`, `squash` or `border`.
        interpolation: `bicubic`, `bilinear`, `nearest` …
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
    """

    size: tuple[int, int]
    crop: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        _check("size", self.size, "height and width in pixels", is_size(self.size))
        _check("crop", self.crop, "a share in (0, 1]", _is_number(self.crop) and 0 < self.crop <= 1)
        for name, valid in (("crop_mode", CROP_MODES), ("interpolation", INTERPOLATIONS)):
            _check(name, getattr(self, name), f"one of {', '.join(valid)}", getattr(self, name) in valid)
        _check("mean", self.mean, "three numbers, of red, green and blue in [0, 1]", _is_triple(self.mean))
        positive = _is_triple(self.std) and all(s > 0 for s in self.std)
        _check("std", self.std, "three positive numbers, of red, green and blue in [0, 1]", positive)
        for name, value in (("crop", float(self.crop)), ("mean", _floats(self.mean)), ("std", _floats(self.std))):
            object.__setattr__(self, name, value)

    @classmethod
    def of_timm(cls, config: Mapping[str, Any], size: tuple[int, int]) -> Preprocess:
        """Read a data config with timm's names; missing fields get our defaults."""
        return cls(size, **{ours: config[theirs] for ours, theirs in TIMM_NAMES.items() if theirs in config})

    def override(self, **fields: Any) -> Preprocess:
        """Return a copy with the given fields replaced; None keeps a field.

        Raises:
            InputError: an unknown field or an invalid value.
        """
        for name in fields:
            check_known("field of the preprocessing", name, TIMM_NAMES)
        return replace(self, **{name: value for name, value in fields.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in identity_fields(self).items()}

    @property
    def text(self) -> str:
        """All fields as readable text."""
        return self.text_of(("size", *TIMM_NAMES))

    def text_of(self, fields: Iterable[str]) -> str:
        """Return some fields as readable text."""
        return ", ".join(f"{name} {getattr(self, name)}" for name in fields)

    @cached_property
    def _crop(self) -> Any:
        """timm's evaluation transform without its last step, the conversion to a tensor."""
        transform: Any = create_transform(
            (3, *self.size),
            crop_pct=self.crop,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
            use_prefetcher=True,
        )
        return transform.transforms[:-1]

    def view(self, image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
        """Return the image as the model sees it: resized and cropped, 8 bits, not normalised."""
        image = image.convert("RGB")
        for step in self._crop:
            image = step(image)
        return np.array(image, dtype=np.uint8)

    @plain_torch()
    def normalise(self, views: UInt8[np.ndarray, "image height width 3"]) -> Float[Tensor, "image 3 height width"]:
        """Return views as the model's input: a float32 tensor on the CPU."""
        pixels = torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).contiguous()
        mean, std = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return pixels.to(torch.float32).div(255).sub(mean).div(std)

    @plain_torch()
    def views(self, images: Float[Tensor, "image 3 height width"]) -> UInt8[np.ndarray, "image height width 3"]:
        """Return the model's input as 8-bit views, the inverse of `normalise`; other values are rounded and clipped."""
        mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (self.mean, self.std))
        pixels = (images.detach().cpu().to(torch.float64) * std + mean).mul(255).round().clamp(0, 255)
        return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def built_for(module: nn.Module) -> tuple[int, int]:
    """Return the height and width of a model's patch embedding, or else of its data config."""
    size = getattr(getattr(module, "patch_embed", None), "img_size", None)
    height, width = resolve_model_data_config(module)["input_size"][1:] if size is None else to_2tuple(size)
    return int(height), int(width)


def _check(name: str, value: object, expected: str, valid: bool) -> None:
    if not valid:
        raise InputError(f"{name}: expected {expected}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_size(value: object) -> TypeGuard[tuple[int, int]]:
    """Return whether a value is a height and a width, as positive whole numbers."""
    sides = value if isinstance(value, tuple) else ()
    return len(sides) == 2 and all(isinstance(s, Integral) and not isinstance(s, bool) and int(s) > 0 for s in sides)


def _is_triple(value: object) -> bool:
    return isinstance(value, Sequence | np.ndarray) and len(value) == 3 and all(_is_number(v) for v in value)


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
