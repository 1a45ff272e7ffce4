"""Formats numbers and lists of names for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log10

import pandas as pd

NONE = "–"
"""Stands for a missing number."""

_MAX_DECIMALS = 9


def format_number(value: float | None, digits: int = 2) -> str:
    """Format a number: small numbers keep two significant digits, a missing number is a dash."""
    if value is None or pd.isna(value):
        return NONE
    return f"{value:.2g}" if 0 < abs(value) < 10.0**-digits else f"{value:.{digits}f}"


def aligned(values: Iterable[float], digits: int = 3) -> list[str]:
    """Format the numbers of a column with the same number of decimals: `digits`, or more if the largest needs them."""
    column = [float("nan") if pd.isna(v) else float(v) for v in values]
    largest = max((abs(v) for v in column if v == v), default=0.0)
    needed = digits - 1 - floor(log10(largest)) if largest else digits
    decimals = min(max(digits, needed), _MAX_DECIMALS)
    return [NONE if v != v else f"{v:z.{decimals}f}" for v in column]


def count(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun in the singular or plural."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def size_range(sizes: Sequence[int]) -> str:
    """Return the smallest and the largest size."""
    low, high = min(sizes), max(sizes)
    return f"{low}" if low == high else f"{low} to {high}"


def join_names(names: Sequence[str], max_names: int = 10) -> str:
    """Join names with commas; of many, the first ones and how many more there are."""
    text = ", ".join(names[:max_names])
    return text if len(names) <= max_names else f"{text} and {len(names) - max_names} more"
