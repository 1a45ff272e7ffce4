"""Rows of a query as a `Table`, the same from every engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import pandas as pd

from ...results import Table

_INT64 = 2**63


def to_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], max_rows: int) -> Table:
    """At most `max_rows` rows, with a note where there were more.

    Columns of integers are int64, or Int64 where a value is missing; columns of numbers float64; all
    others keep Python's values.
    """
    kept = [[_plain(value) for value in row] for row in islice(iter(rows), max_rows + 1)]
    notes = (f"only the first {max_rows} rows are shown; ask for more with max_rows",) if len(kept) > max_rows else ()
    kept = kept[:max_rows]
    series = [_column([row[i] for row in kept]) for i in range(len(columns))]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame()
    frame.columns = list(columns)
    return Table(frame, notes)


def _plain(value: Any) -> Any:
    """Whole decimals (LadybugDB's sums of integers) as int, other decimals as float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _column(values: list[Any]) -> pd.Series:
    kinds = {type(v) for v in values if v is not None}
    dtype: str | type = object
    if kinds == {int} and all(-_INT64 <= v < _INT64 for v in values if v is not None):
        dtype = "Int64" if None in values else "int64"
    elif kinds == {bool} and None not in values:
        dtype = "bool"
    elif float in kinds and kinds <= {int, float}:
        dtype = "float64"
    return pd.Series(values, dtype=dtype)
