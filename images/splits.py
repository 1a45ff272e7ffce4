"""Which split an image belongs to: the images of a class, sorted by content hash, are dealt in turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Split = Literal["discovery", "selection", "report"]

SPLITS: tuple[Split, ...] = ("discovery", "selection", "report")

_TURN: tuple[Split, ...] = ("discovery", "selection", "discovery", "report")


def share(hash_: str, start: int = 0) -> float:
    """A number in [0, 1) read off eight hex digits of a content hash, from `start` on."""
    return int(hash_[start : start + 8], 16) / 2**32


def deal(hashes: Iterable[str]) -> dict[str, Split]:
    """The split of each image of a class: 50 % discovery, 25 % selection, 25 % report, whatever the number.

    It depends on the class's images alone, not on their names, the model, the condition or the seed.
    """
    return {hash_: _TURN[i % 4] for i, hash_ in enumerate(sorted(set(hashes)))}


def quotas(per_class: int) -> dict[Split, int]:
    """How many of `per_class` images each split gets: a quarter, rounded down, to selection and to report."""
    quarter = per_class // 4
    return {"discovery": per_class - 2 * quarter, "selection": quarter, "report": quarter}
