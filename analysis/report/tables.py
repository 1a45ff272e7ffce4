"""Tables of the page, with their rows as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd

from ..wording import NONE, aligned, format_number

ROWS = 20
"""Maximum number of rows of tables that are always visible."""

MAX_ROWS = 100
"""Maximum number of rows of tables that can be folded."""

_FILE_BYTES = 6_000
"""Maximum size of a CSV file with more rows than the table shows."""


_TITLES = {"linf": "L∞", "l2": "L2", "n_images": "images", "n_eval": "report images", "n_edges": "edges"}
"""Titles of columns whose name is an abbreviation."""


@dataclass(frozen=True)
class Column:
    """A column; a `number` is aligned to the right, and `code` is in a fixed-width font."""

    title: str
    number: bool = False
    code: bool = False


@dataclass(frozen=True)
class HtmlTable:
    """A table of the page.

    Attributes:
        rows: the cells as text.
        left_out: the number of rows that are not shown.
        csv: a `data:` URL of a CSV file with all digits; of all rows, or of the rows shown if the file were too large.
        whole: whether the file has all rows.
        condition: the condition of the circuits, for tables of several conditions.
    """

    caption: str
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[str]] = ()
    left_out: int = 0
    csv: str = ""
    whole: bool = True
    condition: str = ""


def frame_table(frame: pd.DataFrame, caption: str, *, max_rows: int = MAX_ROWS, condition: str = "") -> HtmlTable:
    """Return the first rows of a frame, with rounded numbers, and edges in a fixed-width font."""
    shown = frame.head(max_rows)
    columns = [Column(_title(str(name)), _is_number(column), name == "edge") for name, column in frame.items()]
    rows = list(zip(*(cells(column) for _, column in shown.items()), strict=True))
    url = csv_url(frame)
    whole = len(shown) == len(frame) or len(url) <= _FILE_BYTES
    return HtmlTable(
        caption, columns, rows, len(frame) - len(shown), url if whole else csv_url(shown), whole, condition
    )


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def cells(column: pd.Series, digits: int = 3) -> list[str]:
    """Format a column: fractions with the same number of decimals, truth values as yes and no.

    Columns whose name is `p` or begins with `p_` are probabilities: those below 0.0005 are shown as `<0.001`.
    """
    if pd.api.types.is_bool_dtype(column):
        return [NONE if pd.isna(v) else "yes" if v else "no" for v in column]
    if str(column.name).split("_")[0] == "p":
        return [_probability(v) for v in column]
    if pd.api.types.is_float_dtype(column):
        largest = float(column.abs().max())
        return aligned(column, digits - (largest >= 10) - (largest >= 100))
    missing = NONE if _is_number(column) else ""
    return [missing if pd.isna(v) else str(v) for v in column]


def _probability(value: float) -> str:
    return "<0.001" if value < 0.0005 else format_number(value, 3)


def csv_url(frame: pd.DataFrame) -> str:
    """Return a `data:` URL of a CSV file with all digits of a frame."""
    return f"data:text/csv;charset=utf-8,{quote(frame.to_csv(index=False, lineterminator=chr(10)), safe=',-.()=:;')}"
