"""Groups of circuits that differ in one field only."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from circuitstore.circuits import Condition
from circuitstore.query.entries import load
from circuitstore.query.groups import groups
from circuitstore.store import open_store

from .conftest import ATTACK, EFFECT, Library
from .grouping import grouped, new_record, of_model, of_versions, seeded


def test_a_group_has_one_version_if_possible() -> None:
    old, new = of_versions(extraction=2)
    also = replace(old[0], extraction=new[0].extraction)
    (group,) = grouped([old, new, (also, 3)], "class")
    assert {entry.extraction for entry in group.entries} == {new[0].extraction}
    assert group.notes == ("1 other circuits, older or with another seed or precision, are left out",)


def test_models_with_the_same_name_have_different_labels_in_a_fixed_order() -> None:
    """The age and the ids of the circuits do not matter."""
    found = [new_record(class_index=index) for index in range(6)]
    first = [(of_model(r, "e" * 64), i) for i, r in enumerate(found)]
    second = [(of_model(r, "f" * 64), 10 - 3 * i) for i, r in enumerate(found)]
    compared = grouped([*second, *first], "model")
    assert [group.labels for group in compared] == [("toy-2x2 (eeeeeeee)", "toy-2x2 (ffffffff)")] * 6
    by_class = grouped([*first, *second], "class")
    assert sorted(group.common["model"] for group in by_class) == ["toy-2x2 (eeeeeeee)", "toy-2x2 (ffffffff)"]
    assert all(len(group.labels) == 6 for group in by_class)
    others = grouped([*first, (of_model(found[0], "a" * 64, "tuned"), 1)], "model")
    assert [group.labels for group in others] == [("toy-2x2", "tuned")]


def test_the_latest_of_several_circuits_is_taken() -> None:
    first, second, other = new_record(seed=1), new_record(seed=2), new_record(class_index=1)
    (group,) = grouped([(second, 5), (first, 9), (other, 1)], "class")
    assert [e.id for e in group.entries] == [first.id, other.id]
    assert any("1 other circuits" in note for note in group.notes)


def test_circuits_of_a_complete_study_are_compared_while_a_newer_one_is_incomplete() -> None:
    natural, attacked = new_record(), new_record(attack="typographic")
    half = seeded(natural, 1)
    (group,) = grouped([(natural, 1), (attacked, 2), (half, 3)], "condition")
    assert [e.id for e in group.entries] == [natural.id, attacked.id]
    assert any("1 other circuits" in note for note in group.notes)
    whole = seeded(attacked, 1)
    (group,) = grouped([(natural, 1), (whole, 2), (attacked, 4), (half, 3)], "condition")
    assert [e.id for e in group.entries] == [natural.id, attacked.id]
    (group,) = grouped([(natural, 1), (attacked, 2), (half, 3), (whole, 4)], "condition")
    assert [e.id for e in group.entries] == [half.id, whole.id]


def test_circuits_of_different_studies_are_compared_with_notes_if_no_study_has_two() -> None:
    (group,) = grouped([(new_record(), 1), (seeded(new_record(attack="typographic"), 1), 2)], "condition")
    assert set(group.notes) == {"seed differs: 0 against 1", "the circuits have different images"}


def test_images_on_which_attacks_succeed_are_compared_with_correct_natural_ones() -> None:
    natural, found = new_record(), []
    for size in (5, 9):
        item = new_record(attack="typographic").item
        item = replace(item, selection=replace(item.selection, rule="successful"))
        found.append(replace(natural, item=replace(item, condition=Condition.of("typographic", {"size": size}))))
    (group,) = grouped([(natural, 1), (found[0], 2), (found[1], 3)], "condition")
    assert group.labels == ("natural", "typographic(size=5)", "typographic(size=9)")


def test_grouping_reads_no_file_of_a_circuit(library: Library, tmp_path: Path) -> None:
    shutil.copytree(library.store.location.folder, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "archive" / "circuits")
    with open_store(tmp_path / "store") as store:
        sizes = [len(group.labels) for group in groups(load(store, None, EFFECT)[0], "class")]
    assert sizes == [10] * 4


def test_a_mechanism_study_compares_only_attacks() -> None:
    found = [
        new_record(attack=a, corruption="unattacked-twin", metric="logit-diff") for a in ("natural", "typographic")
    ]
    size = replace(found[1].item, condition=Condition.of("typographic", {"text": "other class", "size": 9}))
    (group,) = grouped([*((r, 1) for r in found), (replace(found[1], item=size), 1)], "condition")
    assert group.labels == ("typographic(size=9, text=other class)", ATTACK)
    assert any("mechanism" in note for note in group.notes)
