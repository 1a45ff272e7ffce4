"""Export of results as data frame, Parquet file and notebook table; the table that queries and comparisons return."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_numbers = itertools.count(1)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file atomically: the old content stays until the new content is on the disk.

    The content is written to a temporary file in the same folder, which then replaces the target. Pipes and devices are
    written directly. A lone surrogate in a text, which no encoding can store, is written as its escape.

    Raises:
        InputError: the file cannot be written; no part of the new content remains.

    Examples:
        >>> write_whole(folder / "circuit.txt", "a0.h1->m2")
        >>> (folder / "circuit.txt").read_text()
        'a0.h1->m2'
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(Path(os.path.realpath(target)), data)  # a link stays a link
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free some space" if full else "choose a file in an existing, writable folder"
        raise InputError(f"{path}: cannot write ({error.strerror or error}); {remedy}") from error


def _replace(target: Path, data: bytes) -> None:
    """Replace a file's content, and keep its permissions."""
    exists = target.exists()
    if exists and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = target.with_name(f".circuitstore-{os.getpid()}-{next(_numbers)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exists:
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


class Exportable(ABC):
    """A result that can be exported as data frame, Parquet file or table in a notebook."""

    @abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """Return the rows."""

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows to a Parquet file, atomically.

        Raises:
            InputError: the file cannot be written, or Parquet cannot store a column.
        """
        write_whole(path, parquet(self.to_pandas()))

    def _repr_html_(self) -> str:
        """Return one line about the result, its drawing if it has one, and the first ten rows."""
        from html import escape

        rows = self._first_rows(10).to_html(index=False, border=0)
        return f"<p>{escape(repr(self))}</p>{self._drawing()}{rows}"

    def _drawing(self) -> str:
        return ""

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().head(n)


_UNFIT = (ValueError, TypeError, NotImplementedError, OverflowError)
"""Exceptions of pandas and pyarrow for values that they cannot write."""


def parquet(frame: pd.DataFrame, *, index: bool = False) -> bytes:
    """Return a data frame as the bytes of a Parquet file.

    Args:
        frame: the data frame.
        index: whether to include the row labels.

    Raises:
        InputError: Parquet cannot store the frame; the message names the first column that it cannot store.

    Examples:
        >>> parquet(scores.to_pandas())[:4]
        b'PAR1'
    """
    try:
        return frame.to_parquet(None, index=index)
    except _UNFIT as error:
        bad = next((name for name in frame.columns if not _fits(frame.filter(items=[name]))), None)
        what = "the table" if bad is None else f"column {bad!r}"
        raise InputError(
            f"Parquet cannot store {what}: column names must be unique, and the values of a column must have one type; "
            "use CSV or JSON"
        ) from error


def _fits(column: pd.DataFrame) -> bool:
    try:
        column.to_parquet(None, index=False)
    except _UNFIT:
        return False
    return True


def more_than(rows: int) -> str:
    """The note of a table that was cut after so many rows.

    Examples:
        >>> more_than(20)
        'only the first 20 rows are shown; ask for more with max_rows'
    """
    return f"only the first {rows} rows are shown; ask for more with max_rows"


@dataclass(frozen=True)
class Table(Exportable):
    """Rows and columns, with notes and single figures for the whole table.

    Attributes:
        frame: the rows.
        notes: warnings and remarks (a noise floor, fields that differ, a row limit that was reached).
        facts: figures for the whole table (for instance `noise_floor`).

    Raises:
        InputError: two columns have the same name.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = [str(name) for name, count in Counter(self.frame.columns).items() if count > 1]
        if twice:
            raise InputError(
                f"several columns are named {', '.join(map(repr, twice))}; give each a different name, "
                "in Cypher with AS"
            )

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows as dictionaries."""
        columns = list(self.frame.columns)
        for row in self.frame.itertuples(index=False, name=None):
            yield dict(zip(columns, row, strict=True))

    def to_pandas(self) -> pd.DataFrame:
        return self.frame

    def first(self, rows: int) -> Table:
        """The first rows, with a note where there are more."""
        if len(self) <= rows:
            return self
        return replace(self, frame=self.frame.head(rows), notes=(*self.notes, more_than(rows)))

    def renamed(self, columns: Sequence[str]) -> Table:
        """Return the same rows with other column names, in the same order."""
        return replace(self, frame=self.frame.set_axis(list(columns), axis="columns"))

    def __str__(self) -> str:
        text = self.frame.to_string(index=False)
        return "\n".join([text, *(f"note: {n}" for n in self.notes)])

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>{escape(n)}</p>" for n in self.notes)
        return self.frame.to_html(index=False, border=0) + notes
