"""The read-outs that a report shows, by the question that they answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from ..circuits import IMAGE, NATURAL, Circuit, ReadoutRecord, short_names
from ..errors import InputError, StoreDamaged
from ..query.readouts import newest_readouts
from ..store import Store

MAX_READOUTS = 120
"""Maximum number of read-outs that are read."""

_QUESTION = ["readout", "model", "model_id", "dataset", "image_group", "metric", "corruption", "dtype", "seed"]
_TITLE = ("model", "dataset", "image_group", "metric", "corruption", "dtype", "seed")
"""Columns that distinguish read-outs of one kind in titles."""


@dataclass(frozen=True, eq=False)
class ReadoutSet:
    """The answers to one question about the classes of a data set under several conditions.

    Attributes:
        title: the kind with its parameters, and what distinguishes it from other sets of this kind.
        records: the read-outs, by class index, natural first.
        circuits: the circuits that they are about, by id of the read-out; none that can no longer be read.
    """

    title: str
    records: tuple[ReadoutRecord, ...]
    circuits: Mapping[str, Circuit] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The key of the kind of read-out."""
        return self.records[0].item.recipe.method.kind

    @cached_property
    def by_class(self) -> Mapping[str, Mapping[str, ReadoutRecord]]:
        """The read-outs by class and short name of the condition, natural first."""
        names = short_names(record.item.condition.text for record in self.records)
        found: dict[str, dict[str, ReadoutRecord]] = {}
        for record in self.records:
            found.setdefault(record.item.target_class.name, {})[names[record.item.condition.text]] = record
        return found


def read_readouts(store: Store, run: str | None = None, images: Collection[str] = ()) -> tuple[ReadoutSet, ...]:
    """Return the newest read-outs of a run, or of the store.

    Damaged files are left out; `verify` reports them.

    Args:
        store: the store.
        run: the run; None for the whole store.
        images: content hashes of the images whose numbers are kept, if the store has numbers of each image.

    Raises:
        InputError: the run does not exist.

    Examples:
        >>> read_readouts(store)
        ()
    """
    listed = newest_readouts(store, run)
    order = listed.assign(other=listed["attack"] != NATURAL)
    first = order.sort_values(["class_index", "class", "other", "condition"], kind="stable").head(MAX_READOUTS)
    found = []
    for _, rows in first.groupby(_QUESTION, sort=False):
        records = tuple(_readable(store, rows["id"].tolist(), images))
        if records:
            found.append(ReadoutSet(_title(rows, first), records, dict(_circuits(store, records))))
    return tuple(found)


def _readable(store: Store, ids: Sequence[str], images: Collection[str]) -> Iterator[ReadoutRecord]:
    for id in ids:
        try:
            yield _of_images(store.readout(id), images)
        except StoreDamaged:
            continue


def _circuits(store: Store, records: Sequence[ReadoutRecord]) -> Iterator[tuple[str, Circuit]]:
    for record in records:
        with suppress(StoreDamaged, InputError):
            if "circuit" in record.provenance:
                yield record.id, store.circuit(record.provenance["circuit"]).circuit


def _of_images(record: ReadoutRecord, images: Collection[str]) -> ReadoutRecord:
    """Return the record with the numbers of some images only, since those of all may take much memory."""
    if record.per_image is None:
        return record
    kept = [image for image in record.images if image in images]
    return replace(record, per_image=record.per_image.select(**{IMAGE: kept}) if kept else None)


def _title(rows: pd.DataFrame, listed: pd.DataFrame) -> str:
    """Return the kind with its parameters, and the columns in which other questions of this kind differ."""
    text = str(rows["readout"].iloc[0])
    of_kind = listed.loc[listed["readout"] == text]
    varying = [str(rows[name].iloc[0]) for name in _TITLE if of_kind[name].nunique() > 1]
    return ", ".join(filter(None, (text, *varying)))
