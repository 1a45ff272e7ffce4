"""The defence studies that a report shows, from stored values, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from ..circuits import Fit, cells_of, compact_defence_table, study_notes
from ..circuits import defence_table as table_of
from ..errors import StoreDamaged
from ..query import defence_records
from ..store import Store

SHOWN = ("none", "edges")
"""Rows whose predictions are shown below the pictures."""


@dataclass(frozen=True, eq=False)
class DefendedImage:
    """A report image, unattacked and attacked, with the predictions for the attacked one.

    Attributes:
        name: name of its class.
        clean: the unattacked image.
        attacked: the attacked image.
        predicted: name of the predicted class, by row of the table.
    """

    name: str
    clean: UInt8[np.ndarray, "height width 3"]
    attacked: UInt8[np.ndarray, "height width 3"]
    predicted: dict[str, str]


@dataclass(frozen=True, eq=False)
class DefenceOverview:
    """The defences of one model against one attack.

    Attributes:
        title: model and attack.
        table: a row per defence, a column per condition, see `compact_defence_table`.
        notes: coherence of the directions, and what an attacker who knows the defence leaves of its gain.
        images: a few report images.
    """

    title: str
    table: pd.DataFrame
    notes: tuple[str, ...]
    images: tuple[DefendedImage, ...]


def read_defences(store: Store, run: str | None) -> tuple[DefenceOverview, ...]:
    """Return the defence studies of a run, or of the whole store; those with missing responses are left out."""
    by_attack: dict[tuple[str, str], list[Fit]] = {}
    for record in defence_records(store, run):
        by_attack.setdefault((record.model.id, record.facts["against"]), []).append(record)
    return tuple(shown for records in by_attack.values() if (shown := _read(store, records)) is not None)


def _read(store: Store, records: Sequence[Fit]) -> DefenceOverview | None:
    try:
        cells = [cell for record in records for cell in cells_of(record, lambda id: store.archive.response(id)[0])]
    except StoreDamaged:
        return None
    table, first = table_of(cells), records[0]
    shown = compact_defence_table(table).drop(columns="against")
    title = f"{first.model.name}: against {first.facts['against']}"
    return DefenceOverview(title, shown, tuple(study_notes(records, table)), tuple(_images(records, cells)))


def _images(records: Sequence[Fit], cells: Sequence[Any]) -> Iterator[DefendedImage]:
    """Yield the stored pictures with the predictions for the attacked image, by row."""
    record = next((r for r in records if "pictures" in r.facts), None)
    if record is None:
        return
    predicted: dict[str, dict[str, int]] = {}
    for cell in cells:
        if cell.condition == cell.against and cell.attacker == "model" and cell.defence in SHOWN:
            found = predicted.setdefault(cell.defence, {})
            for response in cell.responses[0]:
                found |= dict(zip(response.images, response.predicted.tolist(), strict=True))
    names = record.facts["names"]
    for i, (name, hash_) in enumerate(record.facts["pictures"]):
        classes = {row: of[hash_] for row, of in predicted.items() if hash_ in of}
        shown = {row: names.get(str(index), f"class {index}") for row, index in classes.items()}
        yield DefendedImage(name, record.arrays["clean"][i], record.arrays["attacked"][i], shown)
