"""How answers leave the command line: tables for people, CSV, JSON or Parquet. Notes go to stderr."""

from __future__ import annotations

import codecs
import logging
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from ..errors import InputError, masked
from ..results import Table, write_whole

if TYPE_CHECKING:
    import pandas as pd

STDOUT = Path("-")
"""The name of stdout as a file."""


class Format(StrEnum):
    """Forms of a table."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


SUFFIXES = {".txt": Format.table, **{f".{form}": form for form in (Format.csv, Format.json, Format.parquet)}}


class Masked:
    """A stream that masks passwords in URLs in all that is written to it, by whomever; see `errors.masked`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(masked(text))

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # whoever writes bytes would write past the mask
            raise AttributeError(name)
        return getattr(self._stream, name)


class Notes(logging.Handler):
    """What a person is told beside the data, on stderr: messages, notes, and what the library logs.

    Its level says how much: `WARNING` as a rule, `INFO` and `DEBUG` add what is logged, `ERROR` leaves only errors.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: set[str] = set()

    @property
    def quiet(self) -> bool:
        return self.level > logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self.tell(record.getMessage())
        else:
            complain(f"{record.levelname.lower()}: {record.getMessage()}")
        if record.exc_info and self.level <= logging.DEBUG:
            complain("".join(traceback.format_exception(*record.exc_info)).rstrip())

    def tell(self, note: str) -> None:
        """A note, if there is one; each once a command."""
        if note and note not in self.told:
            self.told.add(note)
            say(f"note: {note}")


NOTES = Notes()


@contextmanager
def noting() -> Iterator[None]:
    """While a command runs, what the library logs is noted, and nothing on stderr shows a password."""
    log = logging.getLogger("circuitstore")
    level = log.level
    NOTES.told.clear()
    NOTES.setLevel(logging.WARNING)
    log.addHandler(NOTES)
    log.setLevel(logging.DEBUG)  # the handler chooses
    try:
        with redirect_stderr(cast(TextIO, Masked(sys.stderr))):
            yield
    finally:
        log.removeHandler(NOTES)
        log.setLevel(level)


def say(text: str) -> None:
    """A line for the person, beside the data, unless only errors are wanted."""
    if not NOTES.quiet:
        complain(text)


def complain(text: str) -> None:
    """A line for the person, whatever is wanted. Where stderr cannot be written nobody can be told."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def say_rows(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows for the person, beside the data; they fit a terminal."""
    from . import grid

    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    say((grid.grid(header, rows) if width is None else grid.fitted(header, rows, width).text).rstrip())


@dataclass(frozen=True)
class Destination:
    """Where the rows of a command go, and in which form.

    Attributes:
        file: None for stdout.
    """

    file: Path | None = None
    form: Format = Format.table

    @classmethod
    def of(cls, out: Path | None, form: Format | None) -> Destination:
        """The destination that `--out` and `--format` name; the file's suffix tells the form that is not named.

        Raises:
            InputError: a suffix that tells none, or Parquet without a file.
        """
        file = None if out == STDOUT else out
        if form is None and file is not None:
            form = SUFFIXES.get(file.suffix.lower())
            if form is None:
                raise InputError(
                    f"--out {file}: expected a name that ends in {', '.join(SUFFIXES)}, which tells the form of the "
                    "rows; choose such a name, or add --format"
                )
        if form is Format.parquet and file is None:
            raise InputError("--format parquet: expected a file to write to; add --out FILE.parquet")
        return cls(file, form or Format.table)

    @property
    def encoding(self) -> str:
        """Of the text that is written."""
        return codecs.lookup(sys.stdout.encoding or "utf-8").name if self.file is None else "utf-8"

    @property
    def width(self) -> int | None:
        """Columns of the terminal that shows the rows; None where they need not fit one."""
        shown = self.file is None and self.form is Format.table and sys.stdout.isatty()
        return shutil.get_terminal_size().columns if shown else None


def emit(table: Table, to: Destination = Destination(), *, upright: bool = False) -> None:
    """Write the rows, and on stderr what must be known beside them.

    Args:
        upright: a table for people has a line for each value, not for each row.

    Raises:
        InputError: the file cannot be written, or Parquet cannot hold the rows.
    """
    from .grid import cell

    if to.form is Format.parquet:
        assert to.file is not None
        table.to_parquet(to.file)
        unseen = ""
    else:
        text, unseen = render(table.frame, to, upright=upright)
        sys.stdout.write(text) if to.file is None else write_whole(to.file, text)
    if to.file is not None:
        say(f"{count(len(table), 'row')} written to {to.file}")
    for name, value in table.facts.items():
        if told := cell(value):
            say(f"{name}: {told}")
    for note in (unseen, *table.notes):
        NOTES.tell(note)


def count(n: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def render(frame: pd.DataFrame, to: Destination, *, upright: bool = False) -> tuple[str, str]:
    """The rows as text, and in words what of them a terminal does not show."""
    from . import grid, plain

    if to.form is Format.csv:
        return plain.as_csv(frame), ""
    if to.form is Format.json:
        return plain.as_json(frame, escaped=to.encoding != "utf-8"), ""
    header, rows = [str(name) for name in frame.columns], frame.itertuples(index=False, name=None)
    if upright:
        return grid.upright(header, rows, to.width), ""
    if to.width is None:
        return grid.grid(header, rows), ""
    shown = grid.fitted(header, rows, to.width)
    hidden = {"shortened": shown.shortened, "left out": shown.left_out}
    told = "; ".join(f"{how}: {', '.join(columns)}" for how, columns in hidden.items() if columns)
    return shown.text, f"{told} (in full with --format csv, or in a pipe)" if told else ""
