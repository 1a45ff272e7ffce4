"""Circuits of a store sorted into groups within which they may be compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import pandas as pd

from ..circuits import ComputationGraph, Extraction, Selection, WorkItem, check_conditions, check_version
from ..errors import InputError, NotComparable, check_known, unknown
from ..store import Store
from ..store.listing import extractions, work_items
from .answers import counted, named_by_id
from .names import Models, matching

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

SETS = ("form", "method", "metric", "direction")
"""Fields that give scores their meaning: where they differ, only which edges the circuits have can be compared."""

ABBREVIATED = ("condition", "method", "metric", "corruption", "extraction")
"""Properties whose values have parameters, and may be given without them."""

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

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads of its model."""
        return self.item.model.n_layers, self.item.model.n_heads

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


def load(
    store: Store, run: str | None, equals: Mapping[str, Any], *, flagged: bool = False
) -> tuple[list[Entry], tuple[str, ...]]:
    """The circuits of a run, or store, that have the given properties and count; and notes on those that do not.

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
    """Properties as they are stored: models by their ids, abbreviated values in full.

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


def groups(loaded: Sequence[Entry], by: str, *, sets: bool = False) -> Iterator[Group]:
    """Groups of two circuits or more that differ in `by`; models of one name are told apart.

    Args:
        sets: whether only sets of edges are compared, and no scores.

    Raises:
        InputError: no such field.
        NotComparable: circuits that differ in `by` mean different things.
    """
    check_known("field to compare by", by, FIELDS)
    models = Models((e.item.model.name, e.item.model.id) for e in loaded)
    labelled = [replace(e, row={**e.row, "model": models.label(e.item.model.id)}) for e in loaded]

    def value(entry: Entry) -> str:
        return str(entry.row[by])

    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in labelled:
        found.setdefault(tuple(str(entry.row[field]) for field in FIELDS if field != by), []).append(entry)
    for same in found.values():
        chosen = newest(best_study(same, precision, value), value)
        if len(chosen) == 1:  # no study has two: what differs besides is reported
            chosen = newest(same, value)
        group = _group(by, chosen, len(same) - len(chosen), sets)
        if len(group.labels) > 1:
            yield group


def precision(entry: Entry) -> Hashable:
    """What may differ between the newest answers to questions that differ in one field only."""
    return entry.item.recipe.dtype, entry.item.recipe.seed


def best_study(
    entries: Iterable[Entry], study: Callable[[Entry], Hashable], label: Callable[[Entry], Hashable]
) -> list[Entry]:
    """The circuits of the study with most labels; of the newest of several."""
    studies: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        studies.setdefault(study(entry), []).append(entry)
    return max(studies.values(), key=lambda study: (len(set(map(label, study))), max(e.age for e in study)))


def newest(entries: Iterable[Entry], label: Callable[[Entry], Hashable]) -> list[Entry]:
    """One circuit for each label."""
    return list({label(entry): entry for entry in sorted(entries, key=lambda entry: entry.age)}.values())


def _group(by: str, entries: list[Entry], left_out: int, sets: bool) -> Group:
    notes = []
    if left_out:
        notes.append(f"{left_out} other circuits, older or of another seed or precision, are left out")
    if by == "condition" and entries[0].item.recipe.corruption.kind == TWIN:
        mechanism = [e for e in entries if e.item.condition.kind != NATURAL]
        if len(mechanism) < len(entries):
            notes.append("a mechanism study (unattacked-twin) compares attacks; natural circuits are left out")
        entries = mechanism
    entries = sorted(entries, key=lambda e: _order(e, by))
    common = {f: str(entries[0].row[f]) for f in FIELDS if f != by} if entries else {}
    labels = tuple(str(e.row[by]) for e in entries)
    return Group(common, labels, tuple(entries), (*notes, *differences(entries, by, sets=sets)))


def _order(entry: Entry, by: str) -> tuple[Any, ...]:
    item = entry.item
    return (item.target_class.class_index, item.condition.kind != NATURAL, str(entry.row[by]), entry.id)


def differences(entries: Sequence[Entry], by: str, *, sets: bool = False) -> list[str]:
    """Warnings about what differs besides, each once.

    Args:
        by: the field in which the circuits are held against each other.
        sets: whether only sets of edges are compared, and no scores.

    Raises:
        NotComparable: method, form, metric, direction, sign or graph differ.
    """
    notes: dict[str, None] = {}
    distinct = list({(e.item.recipe, e.item.condition, e.extraction, e.graph): e for e in entries}.values())
    for a, b in combinations(distinct, 2):
        notes |= dict.fromkeys(_differ(a, b, by, sets))
    if by == "model":
        notes |= dict.fromkeys(_other_models(entries))
    notes |= dict.fromkeys((*_other_images(entries, by), *other_contrast(e.item for e in entries)))
    return list(notes)


def _other_models(entries: Sequence[Entry]) -> Iterator[str]:
    """What besides the models may make their circuits differ."""
    if any(e.item.selection.rule != "all" for e in entries):
        yield "each model's images are those that it classifies correctly, so the models' images may differ"
    if len({e.size_requested for e in entries}) > 1:
        yield "the circuits of the models have different sizes, which alone makes edges gained or lost"


def _differ(a: Entry, b: Entry, by: str, sets: bool) -> Iterator[str]:
    """Warnings about two circuits."""
    x, y = a.item, b.item
    pair = (x.recipe, y.recipe, x.condition, y.condition)
    try:
        yield from check_conditions(*pair)
    except NotComparable as error:
        if by not in SETS:
            raise
        if not sets:
            told = "which edges the circuits have can be compared: jaccard, node-jaccard, dice"
            raise NotComparable(f"{error}; {told}") from None
        yield from check_conditions(*pair, apart=by)
        yield f"scores of different {by}s mean different things: only which edges the circuits have is compared"
    if by == "form":
        yield "each two forms are compared in the coarser one, beside the noise floor of that form's circuit"
    if a.extraction and b.extraction:
        yield from check_version("extraction", a.extraction, b.extraction)
    if a.shape != b.shape:
        raise NotComparable(
            f"the graphs of {x.model.name} and {y.model.name} differ: {_told(a)} against {_told(b)}; "
            "only models of one shape are compared edge by edge"
        )


def _told(entry: Entry) -> str:
    return "{} layers of {} heads".format(*entry.shape)


def _other_images(entries: Sequence[Entry], by: str) -> list[str]:
    """Says where circuits of one class are of different images, or classes' images are chosen differently."""
    across = by in ("class", "dataset")
    chosen: dict[Hashable, set[Hashable]] = {}
    for e in entries:
        images = images_of(e.item)
        key, what = (None, (images.count, images.rule, images.seed)) if across else (e.item.target_class, images)
        chosen.setdefault(key, set()).add(what)
    if all(len(different) == 1 for different in chosen.values()):
        return []
    return ["images are not chosen alike (number, rule or seed)" if across else "the circuits are of different images"]


def other_contrast(items: Iterable[WorkItem]) -> list[str]:
    """Says where circuits are contrasted with different classes, their own aside."""
    against = list({(item.target_class.name, item.contrast.against): None for item in items})
    everyone = {name for _, names in against for name in names}
    apart = [(own, names) for own, names in against if {*names} != everyone - {own}]
    if not apart:
        return []
    told = "; ".join(
        f"{own}: {', '.join(names[:3]) or 'none'}{' …' if len(names) > 3 else ''}" for own, names in apart[:2]
    )
    more = " …" if len(apart) > 2 else ""
    return [f"the circuits are contrasted with different classes ({told}{more}), which changes circuits, too"]


def images_of(item: WorkItem) -> Selection:
    """Which images of the class it asks of, whatever was done to them (an attack's word is a surrounding)."""
    return replace(item.selection, surroundings="")
