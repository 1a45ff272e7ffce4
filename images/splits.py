"""Which split an image belongs to: a function of its content alone, so an image never changes sides."""

from __future__ import annotations

from typing import Literal

Split = Literal["discovery", "selection", "report"]

SPLITS: tuple[Split, ...] = ("discovery", "selection", "report")


def share(hash_: str, start: int = 0) -> float:
    """A number in [0, 1) read off eight hex digits of a content hash, from `start` on."""
    return int(hash_[start : start + 8], 16) / 2**32


def split_of(hash_: str) -> Split:
    """The split of the image with this SHA-256 (hex): 50 % discovery, 25 % selection, 25 % report."""
    position = share(hash_)
    return "discovery" if position < 0.5 else "selection" if position < 0.75 else "report"


def quotas(per_class: int) -> dict[Split, int]:
    """How many of `per_class` images each split gets: a quarter, rounded down, to selection and to report."""
    quarter = per_class // 4
    return {"discovery": per_class - 2 * quarter, "selection": quarter, "report": quarter}
