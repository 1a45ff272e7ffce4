"""Read a CSV or Parquet file that a user writes, as text."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from ..errors import InputError, nearest


def read_table(file: Path, what: str) -> pd.DataFrame:
    """Read a CSV or Parquet file as text; missing values become empty.

    Args:
        file: the file; its suffix gives the format.
        what: what the file is, for messages.

    Raises:
        InputError: it cannot be read as such a table; the message names the row, counted from 1 after the header.
    """
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"{file}: expected {what}, a file with the suffix .csv or .parquet")
    try:
        table = _read_csv(file) if suffix == ".csv" else pd.read_parquet(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
    except (ValueError, csv.Error) as error:  # not such a file, or other bytes than UTF-8
        raise InputError(f"{file}: cannot be read as {what}: {error}") from error
    if not table.columns.is_unique:
        raise InputError(f"{file}: two columns have the same name: {', '.join(map(str, table.columns))}")
    return table.astype(object).where(table.notna(), "").astype(str).rename(columns=str)


def _read_csv(file: Path) -> pd.DataFrame:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        header, *rows = [row for row in csv.reader(lines, strict=True) if row] or [[]]
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise InputError(
                f"{file}: row {number}: expected {len(header)} values ({', '.join(header)}), got {len(row)}"
            )
    return pd.DataFrame(rows, columns=header, dtype=object)


def require_column(table: pd.DataFrame, column: str, file: Path, option: str | None = None) -> None:
    """Raise InputError if a table lacks a column, with its columns and the option, if any, that sets the name."""
    if column in table:
        return
    close = nearest(column, list(table))
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise InputError(
        f"{file}: the column {column!r} is missing{hint}. Its columns are: {', '.join(table) or 'none'}; "
        f"rename one{f', or set {option}' if option else ''}"
    )
