"""Ids of stored questions are frozen; a field or parameter that was added later does not change them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from circuitstore.circuits import (
    ClassInfo,
    Condition,
    Contrast,
    Corruption,
    Extraction,
    Kind,
    MethodUse,
    Metric,
    ModelInfo,
    Param,
    Recipe,
    Registry,
    Selection,
    Trial,
    Variant,
    WorkItem,
    circuit_id,
    digest,
    trials_of,
)
from circuitstore.circuits.kinds import whole
from circuitstore.circuits.recipe import added_later, identity_fields

ITEM = WorkItem(
    model=ModelInfo("f" * 64, "toy", 2, 2, 8, 10),
    target_class=ClassInfo("toys", "three", 3, "odd"),
    condition=Condition.of("typographic", {"text": "seven", "size": 0.15, "number": 1}, 1),
    recipe=Recipe(
        MethodUse.of("eap-ig", {"steps": 5, "rule": "midpoint", "gradient": "plain"}),
        "split",
        Metric.of("logit-diff", {"target": "seven"}),
        Corruption.of("other-class", {"partners": "all"}, 2),
        direction="denoising",
        signed=True,
        dtype="bfloat16",
        seed=7,
    ),
    selection=Selection.of(["a" * 64, "b" * 64], 8, "correct", 7, ["c" * 64, "target 7"]),
    contrast=Contrast("seven", "seven", ("zero", "one")),
)
EXTRACTION = Extraction.of("bisection", {"target": 0.9, "of": "retention", "buffer": 0.1, "size_of": "natural"}, 2)


def test_stored_ids_never_change() -> None:
    assert ITEM.id == "40a47f76ec9d576ea13211af9d803f140742b948b15c347cbe28d78b6f396509"
    assert ITEM.recipe.id == "f82c22d19a7c01dd79410b94f56e6366b49ac01b2c0746d199a7d9b727eb33e5"
    assert circuit_id(ITEM.id, EXTRACTION) == "d124aff83f705e361e3e53cad6470e5cac6c1e0e9c71de95c65123787fbe07bd"
    assert digest(ITEM.to_dict()) == "aa57524e0ea8972e666dc9ca5320ff283b26155346306199d4abcb7993aef249"
    assert WorkItem.from_dict(ITEM.to_dict()) == ITEM
    trials = trials_of(ITEM, "e" * 64)
    assert {role: trial.id for role, trial in trials.items()} == {
        "full": "f24c0dd776d096b9d6e90f34f37f619712fc9230a486359afc46ee6f008d5653",
        "empty": "b1b34051decf4312565646b75631b1eadb3093ffe828921c6b50a918f0265422",
        "circuit": "f40c689033c7d03831cb811fb3987f648254d3973f2b8994fb933622a0da97a7",
    }
    assert all(Trial.from_dict(trial.to_dict()) == trial for trial in trials.values())


@dataclass(frozen=True)
class Grown(Recipe):
    """A recipe of a hypothetical later version."""

    tokens: str = added_later("all")


def test_a_later_field_is_left_out_while_it_has_its_default() -> None:
    grown = Grown(**{name: getattr(ITEM.recipe, name) for name in ITEM.recipe.__dataclass_fields__})
    assert grown.to_dict() == ITEM.recipe.to_dict()
    assert replace(ITEM, recipe=grown).id == ITEM.id
    other = replace(grown, tokens="class")
    assert replace(ITEM, recipe=other).id != ITEM.id
    assert other.to_dict() == {**ITEM.recipe.to_dict(), "tokens": "class"}
    assert identity_fields(other)["tokens"] == "class"


@pytest.mark.parametrize(
    ("given", "text"), [({}, "sum(n=3)"), ({"power": 1}, "sum(n=3)"), ({"power": 2}, "sum(n=3, power=2)")]
)
def test_a_later_parameter_is_left_out_while_it_has_its_default(given: dict[str, int], text: str) -> None:
    power = Param(1, "a whole number", whole(1).read, added_later=True)
    kinds = Registry("thing", "things", Variant, [Kind(key="sum", params={"n": whole(3), "power": power})])
    assert kinds.resolve("sum", given).text == text


def test_a_group_is_part_of_a_question_and_no_group_is_not() -> None:
    grouped = replace(ITEM, selection=replace(ITEM.selection, group="night"))
    assert "group" not in ITEM.to_dict()["selection"]
    assert grouped.id != ITEM.id and WorkItem.from_dict(grouped.to_dict()) == grouped
    assert Trial.from_dict(trials_of(grouped, "e" * 64)["full"].to_dict()).selection.group == "night"
    ids = {role: trial.id for role, trial in trials_of(ITEM, "e" * 64).items()}
    assert all(trial.id != ids[role] for role, trial in trials_of(grouped, "e" * 64).items())
