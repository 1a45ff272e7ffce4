"""How results leave: the exits that all of them have, and the table that queries and comparisons give back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import pandas as pd


class Exits(ABC):
    """What every result offers: a frame, a Parquet file, a table in a notebook."""

    @abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """The rows."""

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows as a Parquet file.

        Raises:
            InputError: the file cannot be written.
        """
        write_parquet(self.to_pandas(), path)

    def _repr_html_(self) -> str:
        """What it is in a line, then its first ten rows."""
        from html import escape

        return f"<p>{escape(repr(self))}</p>" + self._first_rows(10).to_html(index=False, border=0)

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().head(n)


def write_parquet(frame: pd.DataFrame, path: str | Path, *, index: bool = False) -> None:
    """Write a frame, with its row labels or without.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        frame.to_parquet(path, index=index)
    except OSError as error:
        raise InputError(
            f"{path}: cannot write ({error.strerror or error}); name a file in a folder that exists and may be written"
        ) from error


@dataclass(frozen=True)
class Table(Exits):
    """Rows and columns, with what the reader must know beside them.

    Attributes:
        frame: the rows.
        notes: warnings and remarks (a noise floor, fields that differ, a row cap that was reached).
        facts: single figures that belong to the whole table (for instance `noise_floor`).
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Rows as dictionaries."""
        columns = list(self.frame.columns)
        for row in self.frame.itertuples(index=False, name=None):
            yield dict(zip(columns, row, strict=True))

    def to_pandas(self) -> pd.DataFrame:
        return self.frame

    def renamed(self, columns: Sequence[str]) -> Table:
        """The same rows under other names of the columns, in their order."""
        return replace(self, frame=self.frame.set_axis(list(columns), axis="columns"))

    def __str__(self) -> str:
        text = self.frame.to_string(index=False)
        return "\n".join([text, *(f"note: {n}" for n in self.notes)])

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>{escape(n)}</p>" for n in self.notes)
        return self.frame.to_html(index=False, border=0) + notes
