"""A loaded model in another floating-point type."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from ..errors import InputError, unknown
from .assembly import DTYPES
from .vit import ViT


def in_dtype(model: ViT, dtype: str) -> ViT:
    """The model itself where it is of this type, else a copy that is; the fingerprint stays the same.

    Raises:
        InputError: no such type; a model in bfloat16, whose rounded weights are no longer those of the fingerprint.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if DTYPES[dtype] == model.dtype:
        return model
    if model.dtype == torch.bfloat16:
        raise InputError(f"model: {model.name} was loaded in bfloat16, {dtype} is asked; load it with dtype={dtype!r}")
    return replace(model, module=copy.deepcopy(model.module).to(DTYPES[dtype]))
