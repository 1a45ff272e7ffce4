"""How tables leave the command line: for people, or as CSV, JSON or Parquet. Notes go to stderr."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from ..results import Table


_MISSING = ("NAType", "NaTType")
"""pandas' own signs for a missing value, told by name: pandas is imported by those who make tables."""


class Format(StrEnum):
    """Forms of a table."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def say(text: str) -> None:
    """A line for the person, beside the data: to stderr."""
    print(text, file=sys.stderr)


class Notes(logging.Handler):
    """Notes for the person, on stderr, each once a command: what the library logs, and what results tell."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record.getMessage())

    def tell(self, note: str) -> None:
        if note not in self.told:
            self.told.add(note)
            say(f"note: {note}")


NOTES = Notes()


@contextmanager
def noting() -> Iterator[None]:
    """What the library logs while a command runs is noted."""
    log = logging.getLogger("circuitstore")
    NOTES.told.clear()
    log.addHandler(NOTES)
    try:
        yield
    finally:
        log.removeHandler(NOTES)


def emit(table: Table, form: Format = Format.table, out: Path | None = None) -> None:
    """Write the rows to `out` or stdout, and what must be known beside them to stderr.

    Raises:
        InputError: Parquet without a file, or a file that cannot be written.
    """
    if form is Format.parquet and out is None:
        raise InputError("--format parquet: expected a file to write to; add --out FILE.parquet")
    if out is None:
        sys.stdout.write(render(table.frame, form))
    else:
        _write(table, form, out)
    for name, value in table.facts.items():
        if told := cell(value):
            say(f"{name}: {told}")
    for note in table.notes:
        NOTES.tell(note)


def _write(table: Table, form: Format, out: Path) -> None:
    try:
        if form is Format.parquet:
            table.to_parquet(out)
        else:
            out.write_text(render(table.frame, form), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot write ({error.strerror or error}); name another file with --out") from error
    say(f"{count(len(table), 'row')} written to {out}")


def count(n: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def render(frame: pd.DataFrame, form: Format) -> str:
    """The rows as text."""
    match form:
        case Format.csv:
            return frame.to_csv(index=False, lineterminator="\n")
        case Format.json:
            text = frame.to_json(orient="records", date_format="iso", force_ascii=False, default_handler=str)
            return f"{text}\n"
        case _:
            return grid(list(frame.columns), frame.itertuples(index=False, name=None))


def grid(header: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    """Rows in aligned columns under their names, numbers to the right; nothing is cut off."""
    lines = list(rows)
    cells = [[cell(value) for value in row] for row in lines]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [bool(lines) and all(isinstance(row[i], int | float) for row in lines) for i in range(len(header))]

    def line(values: list[str]) -> str:
        padded = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)]
        return "  ".join(padded).rstrip() + "\n"

    return "".join([line(header), line(["-" * w for w in widths]), *map(line, cells)])


def cell(value: Any) -> str:
    """A value in few signs: six digits, nothing for what is missing, `name=value` for a mapping."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={cell(v)}" for name, v in value.items())
    if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in _MISSING:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("\n", " ")
