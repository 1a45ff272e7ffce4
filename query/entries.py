"""Circuits as the catalog lists them, each with the question that it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..circuits import Extraction, Selection, Universe, WorkItem, universe_of
from ..errors import InputError, unknown
from ..store import Store
from ..store.listing import extractions, work_items
from .answers import counted, named_by_id
from .names import Models, find_values

STUDY = ("model", "dataset", "image_group", "form", "method", "metric", "direction", "corruption", "extraction")
"""Properties that all circuits of a study share; they differ in class and condition."""

ABBREVIATED = ("condition", "method", "metric", "corruption", "extraction")
"""Properties whose values have parameters, which may be omitted."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A circuit as the catalog lists it; its arrays stay in the archive.

    Attributes:
        row: the columns of `Store.circuits`.
        item: the question that it answers.
        extraction: how it was extracted, with the version; None if no run refers to it any more.
    """

    row: Mapping[str, Any]
    item: WorkItem
    extraction: Extraction | None = None

    @property
    def id(self) -> str:
        return self.row["id"]

    @property
    def discovery_id(self) -> str:
        return self.row["discovery_id"]

    @property
    def age(self) -> tuple[int, str]:
        """The sort key of a circuit's age, oldest first."""
        return self.row["created_ms"], self.id

    @property
    def size_requested(self) -> int | None:
        size = self.row["size_requested"]
        return None if pd.isna(size) else int(size)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of layers and of heads of its model."""
        return self.item.model.n_layers, self.item.model.n_heads

    @property
    def universe(self) -> Universe:
        """What it is a subset of."""
        return universe_of(self.item.model, self.item.recipe.over)


def load(
    store: Store, run: str | None, equals: Mapping[str, Any], *, flagged: bool = False
) -> tuple[list[Entry], tuple[str, ...]]:
    """Return the circuits of a run or store that have the given properties and count, and notes on those left out.

    Circuits that are selected by id always count; those that are selected by their flag need only be the newest.

    Raises:
        InputError: the run, property or value does not exist, or no circuit is left.
    """
    properties = _stored_values(store, run, equals)
    rows = store.circuits(run, **properties)
    where = "the store" if run is None else f"run {run!r}"
    if rows.empty:
        _check_values(store.circuits(run), properties, where)
        chosen = ", ".join(f"{name} = {value}" for name, value in equals.items())
        raise InputError(
            f"no circuit in {where}{f' with {chosen}' if chosen else ''}; the query `studies` lists what the store has"
        )
    if not {"id", "discovery_id"}.isdisjoint(properties):
        return entries_of(store, rows), named_by_id(rows)
    kept, notes = counted(rows, flagged=flagged or "flag" in properties)
    if kept.empty:
        raise InputError(f"no circuit in {where} counts: {'; '.join(notes)}")
    return entries_of(store, kept), notes


def _stored_values(store: Store, run: str | None, equals: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties with their stored values: models by id, abbreviated values in full.

    Raises:
        InputError: the run or value does not exist, or several models have the given name.
    """
    found = dict(equals)
    where = f"circuits of {'the store' if run is None else f'run {run!r}'}"
    if "model" in found:
        rows = store.count_circuits(["model", "model_id"], run)
        models = Models(zip(rows["model"], rows["model_id"], strict=True))
        found["model_id"] = [models.id(text, where) for text in texts(found.pop("model"))]
    for name in found.keys() & ABBREVIATED:
        values = set(store.count_circuits([name], run)[name])
        found[name] = sorted(set().union(*(find_values(name, text, values, where) for text in texts(found[name]))))
    return found


def texts(value: Any) -> list[str]:
    """Return one value, or each value of a collection, as text."""
    several = value if isinstance(value, Collection) and not isinstance(value, str) else [value]
    return [str(one) for one in several]


def _check_values(rows: pd.DataFrame, equals: Mapping[str, Any], where: str) -> None:
    """Check that each property has a value that some circuit has.

    Raises:
        InputError: there are circuits, but none has a given value of a property.
    """
    for name, value in equals.items():
        wanted = texts(value)
        present = {str(value) for value in rows[name].dropna()}
        if present and present.isdisjoint(wanted):
            raise unknown(name, ", ".join(wanted), present, where=f"circuits of {where}")


def entries_of(store: Store, rows: pd.DataFrame) -> list[Entry]:
    """Return the circuits in rows of `Store.circuits`, each with the question that it answers."""
    with store.catalog.reading() as connection:
        items = work_items(connection, rows["discovery_id"].unique())
        taken = extractions(connection, rows["id"])
    return [Entry(row, items[row["discovery_id"]], taken.get(row["id"])) for row in rows.to_dict("records")]


def precision(entry: Entry) -> Hashable:
    """Return dtype and seed, which may differ between the newest answers to questions that differ in one field."""
    return entry.item.recipe.dtype, entry.item.recipe.seed


def best_study(
    entries: Iterable[Entry], study: Callable[[Entry], Hashable], label: Callable[[Entry], Hashable]
) -> list[Entry]:
    """Return the circuits of the study with the most labels; among several such studies, those of the newest."""
    studies: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        studies.setdefault(study(entry), []).append(entry)
    return max(studies.values(), key=lambda study: (len(set(map(label, study))), max(e.age for e in study)))


def newest(entries: Iterable[Entry], label: Callable[[Entry], Hashable]) -> list[Entry]:
    """Return the newest circuit for each label."""
    return list({label(entry): entry for entry in sorted(entries, key=lambda entry: entry.age)}.values())


def images_of(item: WorkItem) -> Selection:
    """Return how its images were selected, without the condition (the word of an attack is a surrounding)."""
    return replace(item.selection, surroundings="")


def same_recipe_and_images(a: Entry, b: Entry) -> bool:
    """Return whether two circuits have the same recipe, and images that were selected in the same way."""
    return a.item.recipe == b.item.recipe and images_of(a.item) == images_of(b.item)
