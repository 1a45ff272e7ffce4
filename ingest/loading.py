"""Load the model of a spec."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..errors import CircuitStoreWarning, InputError
from ..models import ViT, in_dtype, load_clip, load_model
from .spec import ModelSpec, Spec, errors_at

CHOOSING = "float32"
"""Floating-point type in which models choose and attack images, independent of the recipes."""


def models_of(spec: Spec, loaded: ViT | None, dtypes: Sequence[str]) -> dict[str, ViT]:
    """Return the model of a spec, or a loaded model instead, in each floating-point type.

    Raises:
        InputError: the spec has no model and none is loaded, or its model cannot be loaded.
    """
    if loaded is not None:
        return _in_dtypes(loaded, dtypes)
    if spec.model is None:
        raise InputError(
            f"{spec.origin}: model: this field is missing; name a model, or pass a loaded one in Python: "
            "index(spec, model=…)"
        )
    with errors_at(spec, "model"), warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)  # the plan has them as notices
        return {dtype: _load_model(spec.model, spec.devices[0], dtype) for dtype in dtypes}


def attackers_of(spec: Spec, model: ViT) -> dict[int, ViT]:
    """Return the models that attack images instead of the model of the run, by the index of their condition.

    Raises:
        InputError: a model cannot be loaded, its images have another size, or its classes are others.
    """
    found = {}
    for i, condition in enumerate(spec.condition):
        if condition.model is not None:
            with errors_at(spec, f"condition[{i}].model"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", CircuitStoreWarning)
                    found[i] = _load_model(condition.model, spec.devices[0], CHOOSING)
                check_attacker(found[i], model)
    return found


def check_attacker(attacker: ViT, model: ViT) -> None:
    """Check that a model can attack the images of another model.

    Raises:
        InputError: the size of its images or its classes differ.
    """
    if attacker.image_size != model.image_size:
        theirs, ours = (f"{m.image_size[0]} × {m.image_size[1]}" for m in (attacker, model))
        raise InputError(f"{attacker.name} reads images of {theirs} pixels, {model.name} of {ours}; they must be equal")
    if attacker.n_classes != model.n_classes or (
        attacker.labels is not None and model.labels is not None and attacker.labels != model.labels
    ):
        raise InputError(
            f"{attacker.name} and {model.name} have different classes ({attacker.n_classes} and {model.n_classes}), so "
            "an attack on a class of one is no attack on the same class of the other"
        )


def _in_dtypes(model: ViT, dtypes: Sequence[str]) -> dict[str, ViT]:
    if not isinstance(model, ViT):
        raise InputError(f"model: expected a loaded model, got {type(model).__name__}; load it: cs.load_model(module)")
    return {dtype: in_dtype(model, dtype) for dtype in dtypes}


_SHARED = (
    "name", "checkpoint", "image_size", "mean", "std", "crop", "crop_mode", "interpolation", "seed",
)  # fmt: skip
"""Fields of a model's table that the models of all libraries share."""


def untrained(spec: Spec, labels: Sequence[str]) -> ViT:
    """Return the model of a spec with a classifier whose logits are 0, for these classes.

    Raises:
        InputError: the spec has no model, or it cannot be loaded.
    """
    if spec.model is None:
        raise InputError(f"{spec.origin}: model: this field is missing; name a model")
    with errors_at(spec, "model"), warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)  # the probe's table has them as notes
        return _load_model(spec.model, spec.devices[0], "float32", labels)


def _load_model(model: str | ModelSpec, device: str, dtype: str, head: Sequence[str] | None = None) -> ViT:
    """Load a model, with another classifier than the spec's if there is a `head`."""
    if isinstance(model, str):
        return load_model(model, device=device, dtype=dtype, head=head)
    options: Any = {field: getattr(model, field) for field in _SHARED} | {"device": device, "dtype": dtype}
    if model.open_clip is None:
        source = model.huggingface or model.timm or f"torchvision:{model.torchvision}"
        labels = None if head else model.classes
        return load_model(source, pretrained=model.pretrained, head=head or model.head, labels=labels, **options)
    tag = model.pretrained if isinstance(model.pretrained, str) else None
    prompts = () if model.templates is None else (model.templates,)
    return load_clip(model.open_clip, model.classes or (), *prompts, pretrained=tag, **options)
