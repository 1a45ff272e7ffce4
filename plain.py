"""Rows as CSV and JSON: numbers with all of their digits, lists and maps as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype


def as_csv(frame: pd.DataFrame) -> str:
    """Return one line per row; lists and maps are JSON texts, missing values are empty."""
    exact = frame.astype({name: np.float64 for name, dtype in frame.dtypes.items() if dtype == np.float32})
    for name in (name for name, dtype in frame.dtypes.items() if is_object_dtype(dtype)):
        exact[name] = pd.Series([_in_csv(value) for value in exact[name]], index=exact.index, dtype=object)
    return exact.to_csv(index=False, lineterminator="\n")


def _in_csv(value: Any) -> Any:
    nested = isinstance(value, Mapping | list | tuple | np.ndarray)
    return json.dumps(plain(value), ensure_ascii=False) if nested else value


def as_json(frame: pd.DataFrame, *, escaped: bool = False) -> str:
    """Return a list of objects, with one line per row.

    Args:
        frame: the rows.
        escaped: whether to escape characters other than ASCII.
    """
    header = [str(name) for name in frame.columns]
    rows = [dict(zip(header, map(plain, row), strict=True)) for row in frame.itertuples(index=False, name=None)]
    lines = ",\n".join(json.dumps(row, ensure_ascii=escaped, allow_nan=False) for row in rows)
    return f"[{lines}]\n"


def plain(value: Any) -> Any:
    """Convert a value to JSON types: null if it is missing, `"Infinity"` for an infinite number."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isnan(value):
            return None
        case float():
            return value if math.isfinite(value) else str(value).replace("inf", "Infinity")
        case Mapping():
            return {str(name): plain(v) for name, v in value.items()}
        case list() | tuple() | set():
            return [plain(v) for v in value]
    if value is pd.NA or value is pd.NaT:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
