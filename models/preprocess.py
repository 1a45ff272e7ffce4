"""From a picture to what a model reads: timm's own resize and centre crop, then the model's normalisation.

The two halves are kept apart because attacks and corruptions work on what lies between them: the
view, the 8-bit image as the model will see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from ..errors import InputError
from .ambient import plain_torch


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its images; the names are those of timm's data config.

    Attributes:
        size: height and width in pixels.
        crop_pct: share of the resized image that the centre crop keeps, in (0, 1].
        crop_mode: `center`, `squash` or `border`.
        interpolation: `bicubic`, `bilinear`, `nearest` …
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
    """

    size: tuple[int, int]
    crop_pct: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or not all(s > 0 for s in self.std):
            raise InputError(
                f"preprocessing: expected three means and three positive stds, got {self.mean}, {self.std}"
            )

    @classmethod
    def of_timm(cls, module: nn.Module) -> Preprocess:
        """What the data config of a timm model says; timm's defaults where it says nothing."""
        return cls.from_dict({**resolve_model_data_config(module), "size": _image_size(module)})

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Preprocess:
        """From a table with `size` (height, width) and any of the other fields; other keys are ignored."""
        height, width = value["size"]
        given: dict[str, Any] = {k: value[k] for k in ("crop_pct", "crop_mode", "interpolation") if k in value}
        given |= {k: tuple(float(v) for v in value[k]) for k in ("mean", "std") if k in value}
        return cls(size=(int(height), int(width)), **given)

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @cached_property
    def _crop(self) -> Any:
        """timm's evaluation transform up to, but without, its conversion to a tensor."""
        transform: Any = create_transform(
            (3, *self.size),
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
            use_prefetcher=True,
        )
        return transform.transforms[:-1]

    def view(self, image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
        """The picture as the model will see it: resized and cropped, 8 bits, not yet normalised."""
        image = image.convert("RGB")
        for step in self._crop:
            image = step(image)
        return np.array(image, dtype=np.uint8)

    @plain_torch()
    def normalise(self, views: UInt8[np.ndarray, "image height width 3"]) -> Float[Tensor, "image 3 height width"]:
        """Views as the float32 tensor that the model takes, on the CPU."""
        pixels = torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).contiguous()
        mean, std = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return pixels.to(torch.float32).div(255).sub(mean).div(std)


def _image_size(module: nn.Module) -> tuple[int, int]:
    """Height and width that the patch embedding was built for, else what the data config says."""
    size = getattr(getattr(module, "patch_embed", None), "img_size", None)
    if size is None:
        return tuple(resolve_model_data_config(module)["input_size"][1:])
    return (size, size) if isinstance(size, int) else tuple(size)
