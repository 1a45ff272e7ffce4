"""Circuits of a store sorted into groups within which they may be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from ..circuits import CircuitRecord, Selection, check_comparable, check_conditions
from ..errors import InputError, NotComparable, unknown
from ..store import Store

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
class Group:
    """Circuits that differ in one field alone, one for each of its values.

    Attributes:
        common: values of the other fields.
        labels: values of the compared field; classes by class index, `natural` before the attacks.
        records: the circuits, in that order, on one graph.
        notes: what else differs, and what was left out.
    """

    common: Mapping[str, str]
    labels: tuple[str, ...]
    records: tuple[CircuitRecord, ...]
    notes: tuple[str, ...] = ()


def load(store: Store, run: str | None, equals: Mapping[str, Any], *, scores: bool) -> list[tuple[CircuitRecord, int]]:
    """The circuits of a run with the given properties, each with its `created_ms`.

    With `scores` each has the scores of all edges, which else are NaN outside it.

    Raises:
        InputError: no such run or property; no circuit; scores wanted that the method does not give.
    """
    rows = store.circuits(run, **equals)
    if rows.empty:
        chosen = ", ".join(f"{name} = {value}" for name, value in equals.items())
        raise InputError(
            f"no circuit in the {'store' if run is None else f'run {run!r}'}"
            f"{f' with {chosen}' if chosen else ''}; the query `studies` shows what there is"
        )
    loaded = [store.archive.circuit(id) for id in rows["id"]]
    return [(_with_scores(store, r), ms) for r, ms in loaded] if scores else loaded


def _with_scores(store: Store, record: CircuitRecord) -> CircuitRecord:
    if record.score is None:
        raise InputError(
            f"method {record.item.recipe.method.text} selects edges and gives no scores; "
            "choose a measure of edges: jaccard, node-jaccard or dice"
        )
    return replace(record, score=store.scores([record.discovery_id])[0])


def groups(loaded: Sequence[tuple[CircuitRecord, int]], by: str) -> Iterator[Group]:
    """Groups of two circuits or more that differ in `by`.

    Raises:
        InputError: no such field.
        NotComparable: circuits that differ in `by` mean different things.
    """
    if by not in FIELDS:
        raise unknown("field to compare by", by, FIELDS)
    found: dict[tuple[str, ...], list[tuple[CircuitRecord, int]]] = {}
    for record, ms in loaded:
        found.setdefault(_key(record, by), []).append((record, ms))
    for same in found.values():
        latest: dict[str, tuple[CircuitRecord, int]] = {}
        for record, ms in sorted(same, key=lambda pair: (pair[1], pair[0].id)):
            latest[_identity(record, by)] = (record, ms)
        group = _group(by, [record for record, _ in latest.values()], len(same) - len(latest))
        if len(group.labels) > 1:
            yield group


def _identity(record: CircuitRecord, field: str) -> str:
    """The value of a field; models of one name are told apart."""
    return record.item.model.id if field == "model" else str(record.properties()[field])


def _key(record: CircuitRecord, by: str) -> tuple[str, ...]:
    return tuple(_identity(record, field) for field in FIELDS if field != by)


def _group(by: str, records: list[CircuitRecord], older: int) -> Group:
    notes = []
    if older:
        notes.append(f"{older} older circuits, of other images, seed or precision, are left out")
    if by == "condition" and records[0].item.recipe.corruption.kind == TWIN:
        mechanism = [r for r in records if r.item.condition.kind != NATURAL]
        if len(mechanism) < len(records):
            notes.append("a mechanism study (unattacked-twin) compares attacks; natural circuits are left out")
        records = mechanism
    records = sorted(records, key=lambda r: _order(r, by))
    common = {f: str(records[0].properties()[f]) for f in FIELDS if f != by} if records else {}
    return Group(common, _labels(records, by), tuple(records), (*notes, *_check(records, by)))


def _order(record: CircuitRecord, by: str) -> tuple[Any, ...]:
    item = record.item
    return (item.target_class.class_index, item.condition.kind != NATURAL, str(record.properties()[by]), record.id)


def _labels(records: Sequence[CircuitRecord], by: str) -> tuple[str, ...]:
    labels = [str(r.properties()[by]) for r in records]
    if by != "model" or len(set(labels)) == len(labels):
        return tuple(labels)
    return tuple(f"{name} ({r.item.model.id[:8]})" for name, r in zip(labels, records, strict=True))


def _check(records: Sequence[CircuitRecord], by: str) -> list[str]:
    """Warnings about what differs besides, each once.

    Raises:
        NotComparable: method, form, metric, direction, sign or graph differ.
    """
    notes: dict[str, None] = {}
    distinct = list({(r.item.recipe.id, r.item.condition, r.circuit.graph): r for r in records}.values())
    for a, b in combinations(distinct, 2):
        x, y = a.item, b.item
        notes |= dict.fromkeys(
            check_conditions(x.recipe, y.recipe, x.condition, y.condition)
            if by == "condition"
            else check_comparable(x.recipe, y.recipe)
        )
        if a.circuit.graph != b.circuit.graph:
            raise NotComparable(
                f"the graphs of {x.model.name} and {y.model.name} differ: {_shape(a)} against {_shape(b)}; "
                "only models of one shape are compared edge by edge"
            )
    if by != "class" and len({images_of(r) for r in records}) > 1:
        notes["the circuits are of different images"] = None
    return list(notes)


def images_of(record: CircuitRecord) -> Selection:
    """Which images of the class it is of, whatever was done to them (an attack's word is a surrounding)."""
    return replace(record.item.selection, surroundings="")


def _shape(record: CircuitRecord) -> str:
    graph = record.circuit.graph
    return f"{graph.n_layers} layers of {graph.n_heads} heads"
