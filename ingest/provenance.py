"""Provenance of answers: device and versions, and a row for each image with its attacked twin and its partner."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import torch

from ..circuits import WorkItem
from ..images import SPLITS, BadImage, ImageRef, Views, attack_checks, attacked_file, changes_images, printable
from ..models import ViT
from .choice import Choice


def versions(model: ViT) -> Mapping[str, str]:
    """Return device, platform and package versions, for the provenance of answers."""
    return {
        "device": str(model.device),
        "threads": str(torch.get_num_threads()),
        "platform": platform.platform(),
        **_packages(),
    }


@cache
def _packages() -> Mapping[str, str]:
    """Return the versions of the packages that compute answers. Cached: their metadata are files."""
    return {name: metadata.version(name) for name in ("circuitstore", "torch", "timm", "numpy")}


def image_provenance(choice: Choice, item: WorkItem) -> dict[str, Any]:
    """Return what is recorded about the images of an item: warnings, predictions, a row per image, attack checks."""
    refs = choice.of_item(item).discovery
    checks = attack_checks(choice.predictions, item.target_class, refs, item.condition)
    return {
        "image_warnings": list(choice.of_item(item).warnings),
        "tally": _tally(choice, item),
        "images": _rows(choice, item),
        "attack": checks and checks.to_dict(),
    }


def _tally(choice: Choice, item: WorkItem) -> dict[str, int | None] | None:
    """Return how the model classifies the candidates that were tried; None if one of them cannot be decoded."""
    with suppress(BadImage):
        return asdict(choice.tally(item))
    return None


def _rows(choice: Choice, item: WorkItem) -> list[dict[str, Any]]:
    """Return a row per image of the item: split, hash, file, and those of its attacked twin and of its partner."""
    rows = []
    for split in SPLITS:
        refs = getattr(choice.of_item(item), split)
        attacked = _attacked(choice, item, refs)
        partners = choice.partners(item, split, len(refs))
        for i, ref in enumerate(refs):
            row = {"split": split, "hash": ref.hash, "file": printable(ref.origin)} | attacked[i]
            if partners:
                partner = partners[i]
                row["against"] = choice.predictions.source.class_of(partner).name
                row |= {"against_hash": partner.hash, "against_file": printable(partner.origin)}
            rows.append(row)
    return rows


def _attacked(choice: Choice, item: WorkItem, refs: Sequence[ImageRef]) -> list[dict[str, Any]]:
    """Return what the provenance says about each image's attacked twin."""
    if not changes_images(item.condition) or not refs:
        return [{} for _ in refs]
    predictions, cls = choice.predictions, item.target_class
    clean, attacked = predictions.views(cls, refs), predictions.views(cls, refs, item.condition)
    names = map(predictions.source.name_of, predictions.of(cls, refs, item.condition).tolist())
    rows = []
    for ref, view, name, size in zip(refs, attacked, names, norms(clean, attacked), strict=True):
        twin = attacked_file(item.condition, predictions.source, ref)
        rows.append(
            {
                "attacked_hash": hashlib.sha256(view.tobytes()).hexdigest() if twin is None else twin.hash,
                "attacked_file": None if twin is None else printable(twin.origin),
                "attacked_as": name,
                **size,
            }
        )
    return rows


def norms(clean: Views, attacked: Views) -> list[dict[str, float]]:
    """Return the norms `linf` and `l2` of each perturbation, for pixels in [0, 1]."""
    offsets = (attacked / 255.0 - clean / 255.0).reshape(len(clean), -1)
    return [{"linf": float(np.abs(offset).max()), "l2": float(np.linalg.norm(offset))} for offset in offsets]
