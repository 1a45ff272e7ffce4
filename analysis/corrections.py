"""The corrections that a report shows, from stored values, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..circuits import Fit, compact_correction_table
from ..circuits import correction_table as table_of
from ..errors import StoreDamaged
from ..query import correction_records
from ..store import Store


@dataclass(frozen=True, eq=False)
class CorrectionOverview:
    """The correction of one model under one condition.

    Attributes:
        title: model, error and condition.
        table: a row per method, a column per group of images, see `compact_correction_table`.
        notes: what the reader has to know.
    """

    title: str
    table: pd.DataFrame
    notes: tuple[str, ...]


def read_corrections(store: Store, run: str | None) -> tuple[CorrectionOverview, ...]:
    """Return the corrections of a run, or of the whole store; those with missing responses are left out."""
    by_error: dict[tuple[str, str, str], list[Fit]] = {}
    for record in correction_records(store, run):
        key = (record.model.id, record.facts["under"], record.facts["error"])
        by_error.setdefault(key, []).append(record)
    return tuple(shown for records in by_error.values() if (shown := _read(store, records)) is not None)


def _read(store: Store, records: Sequence[Fit]) -> CorrectionOverview | None:
    try:
        table = table_of(records, lambda id: store.archive.response(id)[0])
    except StoreDamaged:
        return None
    first = records[0]
    notes = dict.fromkeys(note for record in records for note in record.facts["notes"])
    shown = compact_correction_table(table).drop(columns=["condition", "error"])
    title = f"{first.model.name}: {first.facts['error']}, {first.facts['under']}"
    return CorrectionOverview(title, shown, tuple(notes))
