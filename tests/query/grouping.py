"""Circuits of one recipe or two, and the groups that they fall into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from circuitstore.circuits import CircuitRecord
from circuitstore.query.entries import Entry
from circuitstore.query.groups import Group, groups
from circuitstore.testing.factories import make_discovery, make_item, make_record


def made(n: int = 12, *, seed: int = 0, **what: Any) -> CircuitRecord:
    item = make_item(seed, **{"n_layers": 2, "n_heads": 2} | what)
    return make_record(make_discovery(seed, item=item), n)


def grouped(found: Sequence[tuple[CircuitRecord, int]], by: str, sets: bool = False) -> list[Group]:
    """The groups of records that were made at these times."""
    rows = [r.properties() | {"discovery_id": r.discovery_id, "created_ms": ms} for r, ms in found]
    listed = [Entry(row, r.item, r.extraction) for row, (r, _) in zip(rows, found, strict=True)]
    return list(groups(listed, by, sets=sets))


def twins(change: dict[str, Any], **what: Any) -> list[tuple[CircuitRecord, int]]:
    """A record, and the same with another recipe."""
    record = made(**what)
    recipe = replace(record.item.recipe, **change)
    return [(record, 1), (replace(record, item=replace(record.item, recipe=recipe)), 2)]


def of_model(record: CircuitRecord, id: str, name: str = "toy-2x2") -> CircuitRecord:
    return replace(record, item=replace(record.item, model=replace(record.item.model, id=id, name=name)))


def seeded(record: CircuitRecord, seed: int) -> CircuitRecord:
    """The same, of images drawn by another seed, as a run with that seed asks for it."""
    selection, recipe = replace(record.item.selection, seed=seed), replace(record.item.recipe, seed=seed)
    return replace(record, item=replace(record.item, selection=selection, recipe=recipe))


def of_versions(**versions: int) -> list[tuple[CircuitRecord, int]]:
    """Circuits of two classes, the second one's recipe, condition or extraction in these versions."""
    first, second = made(class_index=0), made(class_index=1)
    item, at = second.item, versions.get("extraction", 1)
    recipe = replace(item.recipe, metric=replace(item.recipe.metric, version=versions.get("metric", 1)))
    condition = replace(item.condition, version=versions.get("condition", 1))
    item = replace(item, recipe=recipe, condition=condition)
    return [(first, 1), (replace(second, item=item, extraction=replace(second.extraction, version=at)), 2)]
