"""Splits of images: the images of a class, or the units that they belong to, are assigned to splits in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Literal

Split = Literal["discovery", "selection", "report"]

SPLITS: tuple[Split, ...] = ("discovery", "selection", "report")

_TURN: tuple[Split, ...] = ("discovery", "selection", "discovery", "report")


def share(hash_: str, start: int = 0) -> float:
    """Return a number in [0, 1) from eight hex digits of a content hash, from position `start` on."""
    return int(hash_[start : start + 8], 16) / 2**32


def assign_splits(hashes: Iterable[str]) -> dict[str, Split]:
    """Return the split of each image of a class: 50 % discovery, 25 % selection, 25 % report.

    It depends only on the class's images, not on their names, the model, the condition or the seed.
    """
    return {hash_: _TURN[i % 4] for i, hash_ in enumerate(sorted(set(hashes)))}


def assign_units(classes: Iterable[Iterable[str]], units: Mapping[str, str]) -> dict[str, Split]:
    """Return the split of each image, the same for all images of a unit: of the units, 50, 25 and 25 %.

    A unit with images of several classes has the split that it gets in the first of them.

    Args:
        classes: content hashes of the images of each class.
        units: name of the unit by content hash; an image without one is its own unit.

    Examples:
        >>> splits = assign_units([["a1", "a2", "b1"]], {"a1": "a", "a2": "a"})
        >>> splits["a1"] == splits["a2"] != splits["b1"]
        True
    """
    known: dict[str, Split] = {}
    splits: dict[str, Split] = {}
    for hashes in classes:
        keys = {hash_: sha256(units[hash_].encode()).hexdigest() if hash_ in units else hash_ for hash_ in hashes}
        known |= assign_splits(key for key in keys.values() if key not in known)
        splits |= {hash_: known[key] for hash_, key in keys.items()}
    return splits


def quotas(per_class: int) -> dict[Split, int]:
    """Return how many of `per_class` images each split gets: a quarter, rounded down, for selection and for report.

    Examples:
        >>> quotas(18)
        {'discovery': 10, 'selection': 4, 'report': 4}
    """
    quarter = per_class // 4
    return {"discovery": per_class - 2 * quarter, "selection": quarter, "report": quarter}
