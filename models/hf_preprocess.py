"""Preprocessing of a Hugging Face model: the fields of its `preprocessor_config.json` as a `Preprocess`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import InputError
from .grid import Size
from .preprocess import INTERPOLATIONS

_RESAMPLING = dict(enumerate(("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")))
"""Pillow's codes."""

_SHORTER_SIDE = ("BitImageProcessor", "CLIPImageProcessor", "CLIPFeatureExtractor")
"""Processors that read a single number as the length of the shorter side; others read it as both sides."""


class Prepared(NamedTuple):
    """How a processor prepares images.

    Attributes:
        size: height and width of its output; None if it does not state a size.
        fields: the fields of the preprocessing that it states, except the size.
    """

    size: Size | None
    fields: Mapping[str, Any]


def read_processor(config: Mapping[str, Any], where: str) -> Prepared:
    """Read the configuration of an image processor.

    Raises:
        InputError: images of varying size, or a field that is not what Hugging Face's processors write.
    """
    fields = dict(_normalisation(config))
    if config.get("resample") is not None:
        fields["interpolation"] = _interpolation(config["resample"], where)
    resized = config.get("size") if config.get("do_resize", True) else None
    cropped = _sides(config.get("crop_size"), where) if config.get("do_center_crop") else None
    if resized is None:
        return Prepared(cropped, fields)
    shorter = _shorter_side(resized, config)
    if shorter is None:
        sides = _sides(resized, where)
        share = 1.0 if cropped is None else _share(cropped, sides, where)
        return Prepared(cropped or sides, {**fields, "crop_mode": "squash", "crop": share})
    if cropped is None:
        raise InputError(
            f"{where}: it resizes the shorter side to {shorter} pixels and does not crop, so images vary in size; "
            "add do_center_crop and crop_size"
        )
    return Prepared(cropped, {**fields, "crop_mode": "center", "crop": _share(cropped, (shorter, shorter), where)})


def _normalisation(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return mean and std for pixels in [0, 1]."""
    if not config.get("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    elif config.get("image_mean") is None or config.get("image_std") is None:
        return {}
    else:
        mean, std = config["image_mean"], config["image_std"]
    scale = 255 * (config.get("rescale_factor") or 1 / 255) if config.get("do_rescale", True) else 255.0
    scale = 1.0 if math.isclose(scale, 1, rel_tol=1e-9) else scale
    return {"mean": tuple(m / scale for m in mean), "std": tuple(s / scale for s in std)}


def _interpolation(code: object, where: str) -> str:
    name = _RESAMPLING.get(code) if isinstance(code, int) else str(code).lower()
    if name not in INTERPOLATIONS:
        raise InputError(f"{where}: resample: expected one of Pillow's codes 0 to 5, got {code!r}")
    return name


def _shorter_side(size: object, config: Mapping[str, Any]) -> int | None:
    """Return the length to which the shorter side is resized; None if both sides are."""
    if isinstance(size, Mapping):
        return size.get("shortest_edge")
    kind = config.get("image_processor_type") or config.get("feature_extractor_type") or ""
    return size if isinstance(size, int) and str(kind).removesuffix("Fast") in _SHORTER_SIDE else None


def _sides(size: object, where: str) -> Size:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and isinstance(size.get("height"), int) and isinstance(size.get("width"), int):
        return size["height"], size["width"]
    raise InputError(f"{where}: expected a size as a number, or as height and width, got {size!r}")


def _share(cropped: Size, resized: Size, where: str) -> float:
    """Return the share that the crop keeps, such that timm resizes to exactly the processor's size.

    timm computes the size as ⌊cropped / share⌋.

    Raises:
        InputError: the crop is larger than the resized image, or keeps other shares of height and width.
    """
    share = cropped[0] / resized[0]
    while share <= 1 and math.floor(cropped[0] / share) < resized[0]:
        share = math.nextafter(share, 0)
    if share > 1 or tuple(math.floor(side / share) for side in cropped) != tuple(resized):
        raise InputError(
            f"{where}: it crops {cropped[0]} × {cropped[1]} of {resized[0]} × {resized[1]} pixels; expected the "
            "same share of both sides, at most 1"
        )
    return share
