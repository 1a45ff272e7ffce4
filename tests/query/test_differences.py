"""What differs between circuits is refused by field, or reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from circuitstore.circuits import CircuitRecord, Contrast, Extraction, MethodUse
from circuitstore.errors import NotComparable

from .grouping import grouped, made, of_model, of_versions, twins

MEANING: list[tuple[str, dict[str, Any]]] = [
    ("method", {"method": MethodUse.of("eap")}),
    ("method", {"method": MethodUse.of("flow-routes"), "signed": False}),
    ("metric", {"metric": made(metric="logit-diff").item.recipe.metric}),
    ("direction", {"direction": "denoising"}),
    ("form", {"form": "head"}),
]


@pytest.mark.parametrize(("by", "change"), MEANING)
def test_scores_that_mean_different_things_are_refused_by_field(by: str, change: dict[str, Any]) -> None:
    with pytest.raises(
        NotComparable, match=rf"these must agree: .*{by}: .*can be compared: jaccard, node-jaccard, dice"
    ):
        grouped(twins(change), by)


@pytest.mark.parametrize(("by", "change"), MEANING)
def test_sets_of_edges_are_compared_whatever_the_scores_mean(by: str, change: dict[str, Any]) -> None:
    (group,) = grouped(twins(change), by, sets=True)
    assert len(group.entries) == 2
    assert any(note.startswith(f"{by} differs: ") for note in group.notes)
    assert any(note.startswith(f"scores of different {by}s mean different things") for note in group.notes)


def test_steps_of_one_method_are_compared_by_scores_too() -> None:
    (group,) = grouped(
        twins({"method": MethodUse.of("eap-ig", {"steps": 50, "rule": "midpoint"})}), "method", sets=True
    )
    assert not any("mean different things" in note for note in group.notes)


def test_versions_are_not_mixed_without_a_word() -> None:
    (group,) = grouped(of_versions(), "class")
    assert not group.notes
    with pytest.raises(NotComparable, match=r"metric: logit \(version 1\) against logit \(version 2\)"):
        grouped(of_versions(metric=2), "class")
    for name in ("condition", "extraction"):
        (group,) = grouped(of_versions(**{name: 2}), "class")
        assert any(note.startswith(f"{name} differs: ") and "(version 2)" in note for note in group.notes)


@pytest.mark.parametrize("sets", [False, True])
def test_unsigned_scores_are_not_compared_with_signed_ones(sets: bool) -> None:
    change = {"signed": False, "corruption": made(corruption="blur").item.recipe.corruption}
    with pytest.raises(NotComparable, match="signed"):
        grouped(twins(change), "corruption", sets=sets)


@pytest.mark.parametrize(
    ("by", "change", "warning"),
    [
        ("corruption", {"corruption": made(corruption="mean-image").item.recipe.corruption}, "corruption differs"),
        ("method", {"method": MethodUse.of("eap-ig", {"steps": 50, "rule": "left"})}, "method differs in detail"),
    ],
)
def test_what_differs_otherwise_is_reported(by: str, change: dict[str, Any], warning: str) -> None:
    (group,) = grouped(twins(change), by)
    assert any(note.startswith(warning) for note in group.notes)


def contrasted(record: CircuitRecord, *against: str) -> tuple[CircuitRecord, int]:
    return replace(record, item=replace(record.item, contrast=Contrast(against=against))), 1


@pytest.mark.parametrize(
    ("first", "second", "third", "stated"),
    [
        (("class-1", "class-2", "class-3"), ("class-2", "class-3", "class-0"), ("class-3", "class-0", "class-1"), ""),
        (("class-1", "class-2"), ("class-2", "class-0"), ("class-1", "class-0"), ""),
        (("x",), ("x",), ("x",), ""),
        (("class-2", "x"), ("class-2", "x"), ("x",), ""),
        ((), (), (), ""),
        (("class-1",), ("class-2",), ("class-3",), "class-0: class-1; class-1: class-2 …"),
        (("x", "y"), ("x", "y"), ("x",), "class-2: x"),
        (("x",), (), ("x",), "class-1: none"),
        (tuple("abcde"), tuple("abcdf"), tuple("abcdef"), "class-0: a, b, c …; class-1: a, b, c …"),
    ],
)
def test_other_contrast_classes_are_reported_but_for_ones_own(
    first: tuple[str, ...], second: tuple[str, ...], third: tuple[str, ...], stated: str
) -> None:
    found = [contrasted(made(class_index=i), *against) for i, against in enumerate((first, second, third))]
    (group,) = grouped(found, "class")
    expected = f"the circuits are contrasted with different classes ({stated}), which changes circuits, too"
    assert group.notes == ((expected,) if stated else ())


def test_one_class_that_is_contrasted_differently_under_attack_is_reported() -> None:
    natural, attacked = made(), made(attack="typographic")
    (group,) = grouped([contrasted(natural, "x", "y"), contrasted(attacked, "y", "x")], "condition")
    assert group.notes == ()
    (group,) = grouped([contrasted(natural, "x", "y"), contrasted(attacked, "y")], "condition")
    assert group.notes == (
        "the circuits are contrasted with different classes (class-0: y), which changes circuits, too",
    )


def test_other_images_are_reported_and_another_word_is_not() -> None:
    natural, attacked = made(), made(attack="typographic")
    written = replace(attacked.item.selection, surroundings="the word")
    other = replace(written, rule="successful")
    for selection, notes in ((written, ()), (other, ("the circuits are of different images",))):
        item = replace(attacked.item, selection=selection)
        (group,) = grouped([(natural, 1), (replace(attacked, item=item), 2)], "condition")
        assert group.notes == notes


def test_models_of_other_shape_are_refused() -> None:
    with pytest.raises(NotComparable, match="2 layers of 2 heads against 3 layers of 2 heads"):
        grouped([(made(), 1), (made(n_layers=3), 2)], "model")


def test_sizes_that_differ_between_models_are_reported() -> None:
    found = [(of_model(made(n), id * 64, id), 1) for n, id in ((9, "a"), (12, "b"))]
    same = Extraction.of("retention", {"target": 0.9})
    (group,) = grouped([(replace(r, extraction=same), at) for r, at in found], "model")
    assert any(note.startswith("the circuits of the models have different sizes") for note in group.notes)
