"""A loaded model in another floating-point type."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from ..errors import InputError, unknown
from .assembly import DTYPES
from .vit import ViT


def in_dtype(model: ViT, dtype: str) -> ViT:
    """Return the model in this type: itself if it already is, else a copy; the fingerprint stays the same.

    Raises:
        InputError: an unknown type, or a model in bfloat16, whose rounded weights no longer match the fingerprint.

    Examples:
        >>> in_dtype(model, "float64").dtype
        torch.float64
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if DTYPES[dtype] == model.dtype:
        return model
    if model.dtype == torch.bfloat16:
        raise InputError(
            f"model: {model.name} was loaded in bfloat16, but {dtype} is needed; load it with dtype={dtype!r}"
        )
    return replace(model, module=copy.deepcopy(model.module).to(DTYPES[dtype]))
