"""Makes circuits with one or two recipes, and groups them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from circuitstore.circuits import CircuitRecord
from circuitstore.query.entries import Entry
from circuitstore.query.groups import Group, groups
from circuitstore.testing.factories import make_discovery, make_item, make_record


def new_record(n: int = 12, *, seed: int = 0, **what: Any) -> CircuitRecord:
    item = make_item(seed, **{"n_layers": 2, "n_heads": 2} | what)
    return make_record(make_discovery(seed, item=item), n)


def grouped(found: Sequence[tuple[CircuitRecord, int]], by: str, sets: bool = False) -> list[Group]:
    """Return the groups of records with the given times of creation."""
    rows = [r.properties() | {"discovery_id": r.discovery_id, "created_ms": ms} for r, ms in found]
    listed = [Entry(row, r.item, r.extraction) for row, (r, _) in zip(rows, found, strict=True)]
    return list(groups(listed, by, sets=sets))


def twins(change: dict[str, Any], **what: Any) -> list[tuple[CircuitRecord, int]]:
    """Return a record, and the same record with a changed recipe."""
    record = new_record(**what)
    recipe = replace(record.item.recipe, **change)
    return [(record, 1), (replace(record, item=replace(record.item, recipe=recipe)), 2)]


def of_model(record: CircuitRecord, id: str, name: str = "toy-2x2") -> CircuitRecord:
    return replace(record, item=replace(record.item, model=replace(record.item.model, id=id, name=name)))


def seeded(record: CircuitRecord, seed: int) -> CircuitRecord:
    """Return the record with another seed of images and recipe."""
    selection, recipe = replace(record.item.selection, seed=seed), replace(record.item.recipe, seed=seed)
    return replace(record, item=replace(record.item, selection=selection, recipe=recipe))


def of_versions(**versions: int) -> list[tuple[CircuitRecord, int]]:
    """Return circuits of two classes; the second one has these versions of metric, condition or extraction."""
    first, second = new_record(class_index=0), new_record(class_index=1)
    item, at = second.item, versions.get("extraction", 1)
    recipe = replace(item.recipe, metric=replace(item.recipe.metric, version=versions.get("metric", 1)))
    condition = replace(item.condition, version=versions.get("condition", 1))
    item = replace(item, recipe=recipe, condition=condition)
    return [(first, 1), (replace(second, item=item, extraction=replace(second.extraction, version=at)), 2)]
