"""The items of a run have short and different names."""

from __future__ import annotations

from dataclasses import replace

from circuitstore.circuits import MethodUse, WorkItem
from circuitstore.ingest.titles import titles
from circuitstore.testing.factories import make_item


def by(item: WorkItem, **recipe: object) -> WorkItem:
    return replace(item, recipe=replace(item.recipe, **recipe))


def test_one_recipe_is_not_named() -> None:
    items = [make_item(class_index=i, attack=attack) for i in range(2) for attack in ("natural", "blurred")]
    assert list(titles(items).values()) == [f"{item.target_class.name} · {item.condition.kind}" for item in items]
    assert titles([]) == {}


def test_several_recipes_are_named_by_what_differs() -> None:
    item = make_item()
    methods = [MethodUse("eap"), MethodUse.of("eap-ig", {"rule": "midpoint", "steps": 2})]
    items = [by(item, method=method) for method in methods]
    start = f"{item.target_class.name} · {item.condition.kind}"
    assert list(titles(items).values()) == [f"{start} · eap", f"{start} · eap-ig"]
    more = [
        *items,
        by(item, method=MethodUse.of("eap-ig", {"rule": "midpoint", "steps": 9})),
        by(items[0], dtype="float64"),
    ]
    assert list(titles(more).values()) == [
        f"{start} · eap · float32",
        f"{start} · eap-ig(steps=2) · float32",
        f"{start} · eap-ig(steps=9) · float32",
        f"{start} · eap · float64",
    ]
    assert list(titles(more)) == [m.id for m in more]
