"""Tables that queries and comparisons give back, all with the same exits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
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

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows as a Parquet file."""
        self.frame.to_parquet(path, index=False)

    def __str__(self) -> str:
        text = self.frame.to_string(index=False)
        return "\n".join([text, *(f"note: {n}" for n in self.notes)])

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>{escape(n)}</p>" for n in self.notes)
        return self.frame.to_html(index=False, border=0) + notes
