"""Output of the command line: rows as a table, CSV, JSON or Parquet; notes and messages on stderr."""

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
"""The file name that stands for stdout."""


class Format(StrEnum):
    """The formats of rows."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


SUFFIXES = {".txt": Format.table, **{f".{form}": form for form in (Format.csv, Format.json, Format.parquet)}}


class Masked:
    """A stream that masks passwords in URLs in everything written to it; see `errors.masked`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(masked(text))

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes would not be masked
            raise AttributeError(name)
        return getattr(self._stream, name)


class Notes(logging.Handler):
    """Prints notes, and what the library logs, on stderr.

    The default level is `WARNING`; `INFO` and `DEBUG` add the log, and `ERROR` leaves only errors.

    Attributes:
        shown: the notes that were printed.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.shown: set[str] = set()

    @property
    def quiet(self) -> bool:
        return self.level > logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self.show(record.getMessage())
        else:
            print_stderr(f"{record.levelname.lower()}: {record.getMessage()}")
        if record.exc_info and self.level <= logging.DEBUG:
            print_stderr("".join(traceback.format_exception(*record.exc_info)).rstrip())

    def show(self, note: str) -> None:
        """Print a note, unless it is empty or was printed before."""
        if note and note not in self.shown:
            self.shown.add(note)
            print_message(f"note: {note}")


NOTES = Notes()


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Print what the library logs on stderr while a command runs, with passwords masked."""
    log = logging.getLogger("circuitstore")
    level = log.level
    NOTES.shown.clear()
    NOTES.setLevel(logging.WARNING)
    log.addHandler(NOTES)
    log.setLevel(logging.DEBUG)  # the handler filters
    try:
        with redirect_stderr(cast(TextIO, Masked(sys.stderr))):
            yield
    finally:
        log.removeHandler(NOTES)
        log.setLevel(level)


def print_message(text: str) -> None:
    """Print a line on stderr, unless only errors are wanted."""
    if not NOTES.quiet:
        print_stderr(text)


def print_stderr(text: str) -> None:
    """Print a line on stderr; does nothing if stderr cannot be written."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def print_message_rows(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows on stderr, fitted to the width of a terminal, unless only errors are wanted."""
    from . import grid

    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    print_message((grid.grid(header, rows) if width is None else grid.fitted(header, rows, width).text).rstrip())


@dataclass(frozen=True)
class Destination:
    """Where the rows of a command go, and in which format.

    Attributes:
        file: the file; None for stdout.
        form: the format.
    """

    file: Path | None = None
    form: Format = Format.table

    @classmethod
    def of(cls, out: Path | None, form: Format | None) -> Destination:
        """Return the destination given by `--out` and `--format`; without `--format`, the suffix gives the format.

        Raises:
            InputError: the suffix is unknown, or Parquet is to go to stdout.
        """
        file = None if out == STDOUT else out
        if form is None and file is not None:
            form = SUFFIXES.get(file.suffix.lower())
            if form is None:
                raise InputError(
                    f"--out {file}: expected a name that ends in {', '.join(SUFFIXES)}; use such a name, or give the "
                    "format with --format"
                )
        if form is Format.parquet and file is None:
            raise InputError("--format parquet: expected a file to write to; add --out FILE.parquet")
        return cls(file, form or Format.table)

    @property
    def encoding(self) -> str:
        """The encoding of the text."""
        return codecs.lookup(sys.stdout.encoding or "utf-8").name if self.file is None else "utf-8"

    @property
    def width(self) -> int | None:
        """The width of the terminal that shows the rows; None if they are not shown on one."""
        shown = self.file is None and self.form is Format.table and sys.stdout.isatty()
        return shutil.get_terminal_size().columns if shown else None


def emit(table: Table, to: Destination = Destination(), *, upright: bool = False) -> None:
    """Write the rows to their destination, and facts and notes to stderr.

    Args:
        table: the rows, facts and notes.
        to: the destination.
        upright: whether a table has one line per value instead of one per row.

    Raises:
        InputError: the file cannot be written, or Parquet cannot hold the rows.
    """
    from .grid import cell

    if to.form is Format.parquet:
        assert to.file is not None
        table.to_parquet(to.file)
        hidden = ""
    else:
        text, hidden = render(table.frame, to, upright=upright)
        sys.stdout.write(text) if to.file is None else write_whole(to.file, text)
    if to.file is not None:
        print_message(f"{count(len(table), 'row')} written to {to.file}")
    for name, value in table.facts.items():
        if text := cell(value):
            print_message(f"{name}: {text}")
    for note in (hidden, *table.notes):
        NOTES.show(note)


def readable(frame: pd.DataFrame, to: Destination) -> pd.DataFrame:
    """Return rows with the shortest distinct names of conditions and other kinds in a table, in full otherwise.

    The columns `a` and `b` have the same names for the same kinds.
    """
    from ..circuits import short_names

    if to.form is not Format.table:
        return frame
    texts = [name for name in frame if any(isinstance(value, str) for value in frame[name])]
    pair = [name for name in texts if name in ("a", "b")]
    for names in (pair, *([name] for name in texts if name not in pair)):
        short = short_names(value for name in names for value in frame[name] if isinstance(value, str))
        frame = frame.assign(**{name: [short.get(value, value) for value in frame[name]] for name in names})
    return frame


def count(n: int, what: str) -> str:
    """Return a number with its noun: `1 run`, `2 runs`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def render(frame: pd.DataFrame, to: Destination, *, upright: bool = False) -> tuple[str, str]:
    """Return the rows as text, and a note on what a terminal does not show in full."""
    from .. import plain
    from . import grid

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
    note = "; ".join(f"{how}: {', '.join(columns)}" for how, columns in hidden.items() if columns)
    return shown.text, f"{note} (in full with --format csv, or in a pipe)" if note else ""
