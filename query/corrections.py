"""The named query about corrections, from stored responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import circuits
from ..circuits import Fit
from ..errors import StoreDamaged
from ..results import Table
from .headers import columns_of
from .names import Models

if TYPE_CHECKING:
    from ..store import Store


def correction_table(store: Store, values: Mapping[str, Any]) -> Table:
    """Accuracy of each group of images for each method of correction, the newest of each model and condition.

    Parameters: none
    Columns:
      model: name of the model
      condition: what was done to the images
      error: what is corrected: a cue, or a class that is read as another
      method: the method; `none` is the unchanged model, and random edges are controls
      group: group of report images: by the cue, with the lowest accuracy over classes as `worst group`, or by the class
      images: number of report images
      accuracy: share that is classified correctly; of `confused`, the share that is read as the other class
      accuracy_low: lower end of its 95 % interval (Wilson)
      accuracy_high: upper end
      seconds_per_image: seconds per image and forward pass
      settings: what was chosen on selection images
    """
    tables, notes = [], []
    found = list(correction_records(store, values.get("run")))
    for record in found:
        notes += record.facts["notes"]
        try:
            frame = circuits.correction_table([record], lambda id: store.archive.response(id)[0])
        except StoreDamaged:
            what = f"{record.facts['under']}, {record.use.kind}"
            notes.append(f"{what}: not all responses are stored; run circuitstore correct again")
            continue
        tables.append(frame.assign(model_id=record.model.id))
    notes = list(dict.fromkeys(notes))
    if not tables:
        return Table(pd.DataFrame(columns=columns_of(correction_table)), (*notes, "no correction is stored"))
    table = pd.concat(tables, ignore_index=True)
    models = Models((record.model.name, record.model.id) for record in found)
    table.insert(0, "model", [models.label(id) for id in table["model_id"]])
    return Table(table.loc[:, columns_of(correction_table)], tuple(notes))


def correction_records(store: Store, run: str | None) -> Iterator[Fit]:
    """Yield the newest record of each model, condition, error and method, in the order in which they were stored.

    Examples:
        >>> list(correction_records(store, None))  # this store has no correction
        []
    """
    rows = store.fits(run, thing="correction").sort_values("created_ms", kind="stable")
    found: dict[tuple[str, str, str, str], Fit] = {}
    for id in rows["id"]:
        record = store.fit(str(id))
        key = (record.model.id, str(record.facts["condition"]), record.facts["error"], record.use.kind)
        found.pop(key, None)
        found[key] = record
    yield from sorted(found.values(), key=lambda record: (record.model.id, record.facts["under"]))
