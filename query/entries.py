"""Circuits of a store as the catalog lists them, each with the question that it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from ..circuits import ComputationGraph, Extraction, Selection, WorkItem
from ..errors import InputError, unknown
from ..store import Store
from ..store.listing import extractions, work_items
from .answers import counted, named_by_id
from .names import Models, matching

STUDY = ("model", "dataset", "form", "method", "metric", "direction", "corruption", "extraction")
"""Properties that all circuits of a study have in common; they differ in class and condition."""

ABBREVIATED = ("condition", "method", "metric", "corruption", "extraction")
"""Properties whose values have parameters, and may be given without them."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A circuit as the catalog lists it; its arrays stay in the archive.

    Attributes:
        row: columns of `Store.circuits`.
        item: the question that it answers.
        extraction: how it was extracted, with the version; None where no run asks for it any more.
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
        """Sorts the oldest first."""
        return self.row["created_ms"], self.id

    @property
    def size_requested(self) -> int | None:
        size = self.row["size_requested"]
        return None if pd.isna(size) else int(size)

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads of its model."""
        return self.item.model.n_layers, self.item.model.n_heads

    @cached_property
    def graph(self) -> ComputationGraph:
        return ComputationGraph(self.item.model.n_layers, self.item.model.n_heads, self.item.recipe.form)


def load(
    store: Store, run: str | None, equals: Mapping[str, Any], *, flagged: bool = False
) -> tuple[list[Entry], tuple[str, ...]]:
    """Return the circuits of a run, or store, that have the given properties and count; and notes on those that do not.

    Circuits that are chosen by id, or by their flag, count as they are.

    Raises:
        InputError: no such run, property or value; no circuit.
    """
    asked = _in_full(store, run, equals)
    rows = store.circuits(run, **asked)
    where = "the store" if run is None else f"run {run!r}"
    if rows.empty:
        _check_values(store.circuits(run), asked, where)
        chosen = ", ".join(f"{name} = {value}" for name, value in equals.items())
        raise InputError(
            f"no circuit in {where}{f' with {chosen}' if chosen else ''}; the query `studies` shows what there is"
        )
    if not {"id", "discovery_id"}.isdisjoint(asked):
        return entries_of(store, rows), named_by_id(rows)
    kept, notes = counted(rows, flagged=flagged or "flag" in asked)
    if kept.empty:
        raise InputError(f"no circuit in {where} counts: {'; '.join(notes)}")
    return entries_of(store, kept), notes


def _in_full(store: Store, run: str | None, equals: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties as they are stored: models by their ids, abbreviated values in full.

    Raises:
        InputError: no such run or value, or a name that several models have.
    """
    found = dict(equals)
    where = f"circuits of {'the store' if run is None else f'run {run!r}'}"
    if "model" in found:
        rows = store.count_circuits(["model", "model_id"], run)
        models = Models(zip(rows["model"], rows["model_id"], strict=True))
        found["model_id"] = [models.id(text, where) for text in _texts(found.pop("model"))]
    for name in found.keys() & ABBREVIATED:
        there = set(store.count_circuits([name], run)[name])
        found[name] = sorted(set().union(*(matching(name, text, there, where) for text in _texts(found[name]))))
    return found


def _texts(value: Any) -> list[str]:
    several = value if isinstance(value, Collection) and not isinstance(value, str) else [value]
    return [str(one) for one in several]


def _check_values(rows: pd.DataFrame, equals: Mapping[str, Any], where: str) -> None:
    """Refuse a value that no circuit has.

    Raises:
        InputError: there are circuits, but none has the value asked for of one property.
    """
    for name, asked in equals.items():
        wanted = asked if isinstance(asked, Collection) and not isinstance(asked, str) else [asked]
        there = {str(value) for value in rows[name].dropna()}
        if there and there.isdisjoint(map(str, wanted)):
            raise unknown(name, ", ".join(map(str, wanted)), there, where=f"circuits of {where}")


def entries_of(store: Store, rows: pd.DataFrame) -> list[Entry]:
    """Return rows of `Store.circuits`, each with the question that it answers."""
    with store.catalog.reading() as connection:
        items = work_items(connection, rows["discovery_id"].unique())
        taken = extractions(connection, rows["id"])
    return [Entry(row, items[row["discovery_id"]], taken.get(row["id"])) for row in rows.to_dict("records")]


def precision(entry: Entry) -> Hashable:
    """Return what may differ between the newest answers to questions that differ in one field only."""
    return entry.item.recipe.dtype, entry.item.recipe.seed


def best_study(
    entries: Iterable[Entry], study: Callable[[Entry], Hashable], label: Callable[[Entry], Hashable]
) -> list[Entry]:
    """Return the circuits of the study with most labels; of the newest of several."""
    studies: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        studies.setdefault(study(entry), []).append(entry)
    return max(studies.values(), key=lambda study: (len(set(map(label, study))), max(e.age for e in study)))


def newest(entries: Iterable[Entry], label: Callable[[Entry], Hashable]) -> list[Entry]:
    """Return one circuit for each label."""
    return list({label(entry): entry for entry in sorted(entries, key=lambda entry: entry.age)}.values())


def images_of(item: WorkItem) -> Selection:
    """Return which images of the class it asks of, whatever was done to them (an attack's word is a surrounding)."""
    return replace(item.selection, surroundings="")
