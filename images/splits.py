"""Splits of images: the images of a class, sorted by content hash, are assigned to splits in turn."""

from __future__ import annotations

from collections.abc import Iterable
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


def quotas(per_class: int) -> dict[Split, int]:
    """Return how many of `per_class` images each split gets: a quarter, rounded down, for selection and for report.

    Examples:
        >>> quotas(18)
        {'discovery': 10, 'selection': 4, 'report': 4}
    """
    quarter = per_class // 4
    return {"discovery": per_class - 2 * quarter, "selection": quarter, "report": quarter}
