"""From the model's table of a spec to the loaded model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..errors import CircuitStoreWarning, InputError
from ..models import ViT, in_dtype, load_clip, load_model
from .spec import ModelSpec, Spec, placed


def models_of(spec: Spec, given: ViT | None, dtypes: Sequence[str]) -> dict[str, ViT]:
    """The model of a spec, or a loaded one in its place, in each floating-point type.

    Raises:
        InputError: the spec names no model and none is given, or its model cannot be loaded.
    """
    if given is not None:
        return _given(given, dtypes)
    if spec.model is None:
        raise InputError(
            f"{spec.origin}: model: this field is missing; name a model, or give a loaded one in Python: "
            "index(spec, model=…)"
        )
    with placed(spec, "model"), warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)  # they are in the plan's notices
        return {dtype: _load_model(spec.model, spec.device, dtype) for dtype in dtypes}


def _given(model: ViT, dtypes: Sequence[str]) -> dict[str, ViT]:
    if not isinstance(model, ViT):
        raise InputError(f"model: expected a loaded model, got {type(model).__name__}; load it: cs.load_model(module)")
    return {dtype: in_dtype(model, dtype) for dtype in dtypes}


_OF_BOTH = ("name", "checkpoint", "image_size", "mean", "std", "crop", "crop_mode", "interpolation", "seed")
"""Fields of a model's table that timm's and open_clip's models share."""


def _load_model(asked: str | ModelSpec, device: str, dtype: str) -> ViT:
    if isinstance(asked, str):
        return load_model(asked, device=device, dtype=dtype)
    options: Any = {field: getattr(asked, field) for field in _OF_BOTH} | {"device": device, "dtype": dtype}
    if asked.open_clip is None:
        return load_model(f"timm:{asked.timm}", pretrained=bool(asked.pretrained), **options)
    tag = asked.pretrained if isinstance(asked.pretrained, str) else None
    prompts = () if asked.templates is None else (asked.templates,)
    return load_clip(asked.open_clip, asked.classes or (), *prompts, pretrained=tag, **options)
