"""The named query about defence studies, from stored responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import circuits
from ..circuits import Fit, cells_of, study_notes
from ..errors import StoreDamaged
from ..results import Table
from .headers import columns_of
from .names import Models

if TYPE_CHECKING:
    from ..store import Store


def defence_table(store: Store, values: Mapping[str, Any]) -> Table:
    """Accuracy under each attack of each defence that was studied, the newest study of each model and attack.

    Parameters: none
    Columns:
      model: name of the model
      against: the attack that the defence was fitted against
      defence: the defence; `none` is the model as it is, and random ones are controls
      condition: what was done to the report images
      attacker: `model` if the attacker knows only the model, `defence` if the attack goes through the defence
      images: number of report images
      accuracy: share of the images that are classified correctly
      accuracy_low: lower end of its 95 % interval (Wilson)
      accuracy_high: upper end
      read: share of the images that are classified as the class that the attack aims at, if it aims at one
      read_low: lower end of its 95 % interval (Wilson)
      read_high: upper end
      seconds_per_image: seconds per image and forward pass, in batches of one class
      settings: what was chosen on selection images
    """
    tables, notes = [], []
    found = list(defence_records(store, values.get("run")))
    for record in found:
        try:
            frame = circuits.defence_table(cells_of(record, lambda id: store.archive.response(id)[0]))
        except StoreDamaged:
            what = f"{record.facts['against']}, {record.use.kind}"
            notes.append(f"{what}: not all responses are stored; run circuitstore defend again")
            continue
        tables.append(frame.assign(model_id=record.model.id))
    if not tables:
        return Table(pd.DataFrame(columns=columns_of(defence_table)), (*notes, "no study of defences is stored"))
    table = pd.concat(tables, ignore_index=True)
    for id, of_model in table.groupby("model_id", sort=False):
        notes += study_notes([record for record in found if record.model.id == id], of_model)
    models = Models((record.model.name, record.model.id) for record in found)
    table.insert(0, "model", [models.label(id) for id in table["model_id"]])
    return Table(table.loc[:, columns_of(defence_table)], tuple(notes))


def defence_records(store: Store, run: str | None) -> Iterator[Fit]:
    """Yield the newest record of each model, attack and defence, in the order in which they were stored.

    Examples:
        >>> list(defence_records(store, None))  # this store has no study of defences
        []
    """
    rows = store.fits(run, thing="defence").sort_values("created_ms", kind="stable")
    found: dict[tuple[str, str, str], Fit] = {}
    for id in rows["id"]:
        record = store.fit(str(id))
        key = (record.model.id, str(record.facts["condition"]), record.use.kind)
        found.pop(key, None)
        found[key] = record
    yield from sorted(found.values(), key=lambda record: (record.model.id, record.facts["against"]))
