"""How numbers are written for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log10

import pandas as pd

NONE = "–"
"""In place of a number that is missing."""

_MOST_DECIMALS = 9


def figure(value: float | None, digits: int = 2) -> str:
    """One number: small ones keep two figures; a dash where there is none."""
    if value is None or pd.isna(value):
        return NONE
    return f"{value:.2g}" if 0 < abs(value) < 10.0**-digits else f"{value:.{digits}f}"


def aligned(values: Iterable[float], digits: int = 3) -> list[str]:
    """The numbers of a column, all with as many decimals: `digits`, or more where the largest needs them."""
    column = [float("nan") if pd.isna(v) else float(v) for v in values]
    largest = max((abs(v) for v in column if v == v), default=0.0)
    needed = digits - 1 - floor(log10(largest)) if largest else digits
    decimals = min(max(digits, needed), _MOST_DECIMALS)
    return [NONE if v != v else f"{v:z.{decimals}f}" for v in column]


def count(n: int, one: str, many: str = "") -> str:
    """A number of things."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def size_range(sizes: Sequence[int]) -> str:
    """The smallest and the largest."""
    low, high = min(sizes), max(sizes)
    return f"{low}" if low == high else f"{low} to {high}"


def named(names: Sequence[str], most: int = 10) -> str:
    """The names, or the first of many and how many more there are."""
    told = ", ".join(names[:most])
    return told if len(names) <= most else f"{told} and {len(names) - most} more"
