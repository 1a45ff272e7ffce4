"""Conversion of a query's rows to a `Table` that is the same for every engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from ...errors import QueryFailed
from ...results import Table, more_than

_INT64 = 2**63
_SCALARS = {type(None), bool, int, float, str, Decimal}


def to_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], max_rows: int, plain: Callable[[Any], Any] = lambda v: v
) -> Table:
    """Return at most `max_rows` rows, with a note if there were more.

    Columns of integers are int64, or Int64 if values are missing; columns of numbers are float64; all others keep the
    Python values.

    Args:
        plain: converts an engine's nodes and relationships to `entity` dictionaries, also within lists.

    Raises:
        QueryFailed: a number is infinite or NaN. Only a division by zero yields these; some engines raise an error.
    """
    kept = list(islice(iter(rows), max_rows + 1))
    values = [[row[i] for row in kept] for i in range(len(columns))]
    values = [column if _kinds(column) <= _SCALARS else [plain(value) for value in column] for column in values]
    for name, column in zip(columns, values, strict=True):
        if any(type(value) is float and not math.isfinite(value) for value in column):
            raise QueryFailed(
                f"column {name} has a number that is infinite or undefined: something is divided by 0; exclude "
                "such rows with WHERE, or write CASE WHEN b <> 0 THEN 1.0 * a / b END"
            )
    return _table(columns, values, len(kept), max_rows)


def entity(kind: str, name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node or a relationship as a dictionary that is the same for every engine.

    Args:
        kind: `label` or `type`.
    """
    return {kind: name, **{k: properties[k] for k in sorted(properties) if properties[k] is not None}}


def unpacked(packed: Table, max_rows: int) -> Table:
    """Return the rows of an answer that packs many rows into one, as `to_table` returns them.

    Args:
        packed: rows whose lists have equal lengths, with one element per unpacked row; an empty list as an element is
            a missing value. A value that is not a list belongs to all unpacked rows.
    """
    columns: list[list[Any]] = [[] for _ in packed.frame.columns]
    for row in packed.frame.itertuples(index=False, name=None):
        count = next(len(value) for value in row if isinstance(value, list))
        for column, value in zip(columns, row, strict=True):
            column += value if isinstance(value, list) else [value] * count
    columns = [[None if v == [] else v for v in values] if list in _kinds(values) else values for values in columns]
    return _table(list(packed.frame.columns), columns, len(columns[0]), max_rows)


def _table(names: Sequence[str], columns: Sequence[list[Any]], count: int, max_rows: int) -> Table:
    """Return the table of columns of `count` values each."""
    notes = (more_than(max_rows),) if count > max_rows else ()
    frame = pd.DataFrame({i: _column(values[:max_rows]) for i, values in enumerate(columns)})
    frame.columns = list(names)
    return Table(frame, notes)


def _column(values: list[Any]) -> Any:
    """Return the values as a pandas column."""
    kinds = _kinds(values)
    if Decimal in kinds:
        values = [_plain(value) for value in values]
        kinds = _kinds(values)
    missing, kinds = type(None) in kinds, kinds - {type(None)}
    if kinds == {int} and all(-_INT64 <= v < _INT64 for v in values if v is not None):
        return pd.array(values, dtype="Int64") if missing else np.array(values, dtype=np.int64)
    if kinds == {bool} and not missing:
        return np.array(values, dtype=np.bool_)
    if float in kinds and kinds <= {int, float}:
        return np.array(values, dtype=np.float64)
    return pd.Series(values, dtype=object)


def _kinds(values: list[Any]) -> set[type]:
    return set(map(type, values))


def _plain(value: Any) -> Any:
    """Return whole decimals (LadybugDB's sums of integers) as int, other decimals as float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
