"""Differences between circuits raise an error that names the field, or are reported in notes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from circuitstore.circuits import CircuitRecord, Contrast, Extraction, MethodUse
from circuitstore.errors import NotComparable

from .grouping import grouped, new_record, of_model, of_versions, twins

MEANING: list[tuple[str, dict[str, Any]]] = [
    ("method", {"method": MethodUse.of("eap")}),
    ("method", {"method": MethodUse.of("flow-routes"), "signed": False}),
    ("metric", {"metric": new_record(metric="logit-diff").item.recipe.metric}),
    ("direction", {"direction": "denoising"}),
    ("form", {"form": "head"}),
]


@pytest.mark.parametrize(("by", "change"), MEANING)
def test_scores_that_are_not_comparable_raise_an_error_with_the_field(by: str, change: dict[str, Any]) -> None:
    with pytest.raises(
        NotComparable,
        match=rf"these must agree: .*{by}: .*compare them as sets of edges: jaccard, node-jaccard or dice",
    ):
        grouped(twins(change), by)


@pytest.mark.parametrize(("by", "change"), MEANING)
def test_sets_of_edges_are_compared_when_scores_are_not_comparable(by: str, change: dict[str, Any]) -> None:
    (group,) = grouped(twins(change), by, sets=True)
    assert len(group.entries) == 2
    assert any(note.startswith(f"{by} differs: ") for note in group.notes)
    assert any(note.startswith(f"scores of different {by}s are not comparable") for note in group.notes)


def test_scores_of_one_method_with_different_steps_are_comparable() -> None:
    (group,) = grouped(
        twins({"method": MethodUse.of("eap-ig", {"steps": 50, "rule": "midpoint"})}), "method", sets=True
    )
    assert not any("are not comparable" in note for note in group.notes)


def test_different_versions_raise_an_error_or_are_noted() -> None:
    (group,) = grouped(of_versions(), "class")
    assert not group.notes
    with pytest.raises(NotComparable, match=r"metric: logit \(version 1\) against logit \(version 2\)"):
        grouped(of_versions(metric=2), "class")
    for name in ("condition", "extraction"):
        (group,) = grouped(of_versions(**{name: 2}), "class")
        assert any(note.startswith(f"{name} differs: ") and "(version 2)" in note for note in group.notes)


@pytest.mark.parametrize("sets", [False, True])
def test_unsigned_scores_are_not_compared_with_signed_ones(sets: bool) -> None:
    change = {"signed": False, "corruption": new_record(corruption="blur").item.recipe.corruption}
    with pytest.raises(NotComparable, match="signed"):
        grouped(twins(change), "corruption", sets=sets)


@pytest.mark.parametrize(
    ("by", "change", "warning"),
    [
        (
            "corruption",
            {"corruption": new_record(corruption="mean-image").item.recipe.corruption},
            "corruption differs",
        ),
        ("method", {"method": MethodUse.of("eap-ig", {"steps": 50, "rule": "left"})}, "method differs in detail"),
    ],
)
def test_other_differences_are_noted(by: str, change: dict[str, Any], warning: str) -> None:
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
def test_different_contrast_classes_are_noted_except_the_class_itself(
    first: tuple[str, ...], second: tuple[str, ...], third: tuple[str, ...], stated: str
) -> None:
    found = [contrasted(new_record(class_index=i), *against) for i, against in enumerate((first, second, third))]
    (group,) = grouped(found, "class")
    expected = f"the circuits are contrasted with different classes ({stated}), which also changes circuits"
    assert group.notes == ((expected,) if stated else ())


def test_a_class_that_is_contrasted_differently_under_attack_is_noted() -> None:
    natural, attacked = new_record(), new_record(attack="typographic")
    (group,) = grouped([contrasted(natural, "x", "y"), contrasted(attacked, "y", "x")], "condition")
    assert group.notes == ()
    (group,) = grouped([contrasted(natural, "x", "y"), contrasted(attacked, "y")], "condition")
    assert group.notes == (
        "the circuits are contrasted with different classes (class-0: y), which also changes circuits",
    )


def test_different_images_are_noted_and_a_different_word_is_not() -> None:
    natural, attacked = new_record(), new_record(attack="typographic")
    written = replace(attacked.item.selection, surroundings="the word")
    other = replace(written, rule="successful")
    for selection, notes in ((written, ()), (other, ("the circuits have different images",))):
        item = replace(attacked.item, selection=selection)
        (group,) = grouped([(natural, 1), (replace(attacked, item=item), 2)], "condition")
        assert group.notes == notes


def test_models_of_another_shape_raise_an_error() -> None:
    with pytest.raises(NotComparable, match="2 layers of 2 heads against 3 layers of 2 heads"):
        grouped([(new_record(), 1), (new_record(n_layers=3), 2)], "model")


def test_sizes_that_differ_between_models_are_noted() -> None:
    found = [(of_model(new_record(n), id * 64, id), 1) for n, id in ((9, "a"), (12, "b"))]
    same = Extraction.of("retention", {"target": 0.9})
    (group,) = grouped([(replace(r, extraction=same), at) for r, at in found], "model")
    assert any(note.startswith("the circuits of the models have different sizes") for note in group.notes)
