"""Circuits of a store sorted into groups within which they may be compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import pandas as pd

from ..circuits import ComputationGraph, Extraction, Selection, WorkItem, check_conditions, check_version
from ..errors import InputError, NotComparable, unknown
from ..store import Store
from ..store.listing import extractions, work_items

FIELDS = (
    "model",
    "dataset",
    "class",
    "condition",
    "form",
    "method",
    "metric",
    "direction",
    "corruption",
    "extraction",
)
"""Properties of circuits; within a group all but the compared one are the same."""

NATURAL = "natural"
TWIN = "unattacked-twin"


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

    @cached_property
    def graph(self) -> ComputationGraph:
        return ComputationGraph(self.item.model.n_layers, self.item.model.n_heads, self.item.recipe.form)


@dataclass(frozen=True, eq=False)
class Group:
    """Circuits that differ in one field alone, one for each of its values.

    Attributes:
        common: values of the other fields.
        labels: values of the compared field; classes by class index, `natural` before the attacks.
        entries: the circuits, in that order, on one graph.
        notes: what else differs, and what was left out.
    """

    common: Mapping[str, str]
    labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def load(store: Store, run: str | None, equals: Mapping[str, Any]) -> list[Entry]:
    """The circuits of a run with the given properties.

    Raises:
        InputError: no such run, property or value; no circuit.
    """
    rows = store.circuits(run, **equals)
    if rows.empty:
        _check_values(store.circuits(run), equals, "the store" if run is None else f"run {run!r}")
        chosen = ", ".join(f"{name} = {value}" for name, value in equals.items())
        raise InputError(
            f"no circuit in the {'store' if run is None else f'run {run!r}'}"
            f"{f' with {chosen}' if chosen else ''}; the query `studies` shows what there is"
        )
    return entries_of(store, rows)


def _check_values(rows: pd.DataFrame, equals: Mapping[str, Any], where: str) -> None:
    """Raises:
    InputError: there are circuits, but none has the value asked for of one property.
    """
    for name, asked in equals.items():
        wanted = asked if isinstance(asked, Collection) and not isinstance(asked, str) else [asked]
        there = {str(value) for value in rows[name].dropna()}
        if there and there.isdisjoint(map(str, wanted)):
            raise unknown(name, ", ".join(map(str, wanted)), there, where=f"circuits of {where}")


def entries_of(store: Store, rows: pd.DataFrame) -> list[Entry]:
    """Rows of `Store.circuits`, each with the question that it answers."""
    with store.catalog.reading() as connection:
        items = work_items(connection, rows["discovery_id"].unique())
        taken = extractions(connection, rows["id"])
    return [Entry(row, items[row["discovery_id"]], taken.get(row["id"])) for row in rows.to_dict("records")]


def groups(loaded: Sequence[Entry], by: str) -> Iterator[Group]:
    """Groups of two circuits or more that differ in `by`.

    Raises:
        InputError: no such field.
        NotComparable: circuits that differ in `by` mean different things.
    """
    if by not in FIELDS:
        raise unknown("field to compare by", by, FIELDS)

    def value(entry: Entry) -> str:
        return _identity(entry, by)

    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in loaded:
        found.setdefault(tuple(_identity(entry, field) for field in FIELDS if field != by), []).append(entry)
    for same in found.values():
        chosen = newest(best_study(same, by, value), value)
        if len(chosen) == 1:  # no study has two: what differs besides is told
            chosen = newest(same, value)
        group = _group(by, chosen, len(same) - len(chosen))
        if len(group.labels) > 1:
            yield group


def _identity(entry: Entry, field: str) -> str:
    """The value of a field; models of one name are told apart."""
    return entry.item.model.id if field == "model" else str(entry.row[field])


def best_study(entries: Iterable[Entry], by: str, label: Callable[[Entry], Hashable]) -> list[Entry]:
    """The circuits of the study, among those that differ in `by`, with most labels; of the newest of several."""
    studies: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        studies.setdefault(_study(entry, by), []).append(entry)
    return max(studies.values(), key=lambda study: (len(set(map(label, study))), max(e.age for e in study)))


def newest(entries: Iterable[Entry], label: Callable[[Entry], Hashable]) -> list[Entry]:
    """One circuit for each label."""
    return list({label(entry): entry for entry in sorted(entries, key=lambda entry: entry.age)}.values())


def _study(entry: Entry, by: str) -> Hashable:
    """What the circuits of one study share: recipe and extraction but for what is compared, and the images."""
    item = entry.item
    asked = {f.name: getattr(item.recipe, f.name) for f in fields(item.recipe)} | {"extraction": entry.extraction}
    images = images_of(item)
    if images.rule == "successful":  # asked of attacks alone: the natural circuits beside them are of correct images
        images = replace(images, rule="correct")
    return tuple(value for name, value in asked.items() if name != by), replace(
        images, candidates="", n_candidates=0
    ) if by in ("class", "dataset") else images


def _group(by: str, entries: list[Entry], left_out: int) -> Group:
    notes = []
    if left_out:
        notes.append(f"{left_out} other circuits, older or of other images, seed, precision or version, are left out")
    if by == "condition" and entries[0].item.recipe.corruption.kind == TWIN:
        mechanism = [e for e in entries if e.item.condition.kind != NATURAL]
        if len(mechanism) < len(entries):
            notes.append("a mechanism study (unattacked-twin) compares attacks; natural circuits are left out")
        entries = mechanism
    entries = sorted(entries, key=lambda e: _order(e, by))
    common = {f: str(entries[0].row[f]) for f in FIELDS if f != by} if entries else {}
    return Group(common, _labels(entries, by), tuple(entries), (*notes, *_check(entries, by)))


def _order(entry: Entry, by: str) -> tuple[Any, ...]:
    item = entry.item
    return (item.target_class.class_index, item.condition.kind != NATURAL, str(entry.row[by]), entry.id)


def _labels(entries: Sequence[Entry], by: str) -> tuple[str, ...]:
    labels = [str(e.row[by]) for e in entries]
    if by != "model" or len(set(labels)) == len(labels):
        return tuple(labels)
    return tuple(f"{name} ({e.item.model.id[:8]})" for name, e in zip(labels, entries, strict=True))


def _check(entries: Sequence[Entry], by: str) -> list[str]:
    """Warnings about what differs besides, each once.

    Raises:
        NotComparable: method, form, metric, direction, sign or graph differ.
    """
    notes: dict[str, None] = {}
    distinct = list({(e.item.recipe, e.item.condition, e.extraction, e.graph): e for e in entries}.values())
    for a, b in combinations(distinct, 2):
        x, y = a.item, b.item
        notes |= dict.fromkeys(check_conditions(x.recipe, y.recipe, x.condition, y.condition))
        if a.extraction and b.extraction:
            notes |= dict.fromkeys(check_version("extraction", a.extraction, b.extraction))
        if a.graph != b.graph:
            raise NotComparable(
                f"the graphs of {x.model.name} and {y.model.name} differ: {_shape(a)} against {_shape(b)}; "
                "only models of one shape are compared edge by edge"
            )
    if by != "class" and len({images_of(e.item) for e in entries}) > 1:
        notes["the circuits are of different images"] = None
    return list(notes)


def images_of(item: WorkItem) -> Selection:
    """Which images of the class it asks of, whatever was done to them (an attack's word is a surrounding)."""
    return replace(item.selection, surroundings="")


def _shape(entry: Entry) -> str:
    return f"{entry.graph.n_layers} layers of {entry.graph.n_heads} heads"
