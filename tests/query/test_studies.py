"""Circuits are grouped into studies by their recipes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Extraction, WorkItem
from circuitstore.errors import InputError
from circuitstore.query.studies import COMMON, read_studies
from circuitstore.testing.factories import make_item

from ..toy_studies import SHAPE, Answers, effect_items, of_model, study_of, whole


def test_the_effect_study_precedes_the_mechanism_study(toy_store, toys):
    studies = read_studies(toy_store)
    assert [s.kind for s in studies] == ["effect", "mechanism"]
    assert sum(len(s.circuits) for s in studies) == len(toys.records)
    for study in studies:
        assert all(study.circuits[name].nunique() == 1 for name in COMMON)


@pytest.mark.parametrize(
    ("metric", "corruption", "kind"),
    [
        ("logit", "other-class", "effect"),
        ("logit", "mean-image", "effect"),
        ("logit", "unattacked-twin", "other"),
        ("logit-diff", "unattacked-twin", "mechanism"),
        ("logit-diff", "other-class", "other"),
    ],
)
def test_the_recipe_decides_the_kind(metric, corruption, kind):
    items = [make_item(class_index=c, metric=metric, corruption=corruption, **SHAPE) for c in range(2)]
    assert study_of(Answers.to(items).records).kind == kind


def test_rows_members_and_scores_belong_together(toy_store, toys):
    by_id = {r.id: r for r in toys.records}
    for study in read_studies(toy_store):
        for i, id in enumerate(study.circuits["id"]):
            assert np.array_equal(study.members[i], by_id[id].circuit.members)
            assert np.array_equal(study.scores[i], by_id[id].circuit.score)


def test_natural_is_first_and_circuits_of_several_conditions_are_aligned_by_class(toy_store):
    effect, mechanism = read_studies(toy_store)
    assert [effect.short(c) for c in effect.conditions] == ["natural", "typographic"]
    assert effect.other_conditions == effect.conditions[1:]
    assert mechanism.other_conditions == mechanism.conditions
    names, rows = effect.aligned("natural", *effect.other_conditions)
    assert names == list(effect.classes)
    for name, a, b in zip(names, *rows, strict=True):
        assert {effect.circuits["class"].iloc[i] for i in (a, b)} == {name}
        assert (effect.circuits["attack"].iloc[a], effect.circuits["attack"].iloc[b]) == ("natural", "typographic")


def test_two_conditions_of_one_family_keep_their_full_names():
    first = effect_items(2)
    others = [replace(i, condition=type(i.condition).of("typographic", {"text": "cat"})) for i in first[1::2]]
    study = study_of(Answers.to([*first, *others]).records)
    assert study.short("natural") == "natural"
    assert study.short("typographic(text=cat)") == "typographic(text=cat)"


def test_another_extraction_is_another_study(store_of):
    answers = Answers.to(effect_items(2))
    larger = [replace(r, extraction=Extraction.of("edges", {"n": 31})) for r in answers.records]
    studies = read_studies(store_of(Answers(answers.discoveries, answers.records + larger)))
    assert [len(s.circuits) for s in studies] == [4, 4]


def newer_items(seed: int, dtype: str) -> list[WorkItem]:
    """Return the items of the effect study of two classes, repeated."""
    items = [make_item(seed, class_index=c, attack=a, **SHAPE) for c in range(2) for a in ("natural", "typographic")]
    return [replace(item, recipe=replace(item.recipe, dtype=dtype)) for item in items]


@pytest.mark.slow
def test_a_newer_study_is_shown_if_it_is_as_complete_and_the_older_is_counted(store_of):
    items, newer = effect_items(2), newer_items(0, "float64")
    half, whole = Answers.to([*items, newer[0]]), Answers.to(newer[1:])
    store = store_of(half)
    (study,) = read_studies(store)
    assert set(study.circuits["discovery_id"]) == {i.id for i in items}
    assert study.notes[0].startswith("not shown: 1 circuit, older")
    (study,) = read_studies(store_of(whole))
    assert set(study.circuits["discovery_id"]) == {i.id for i in newer}
    assert study.notes[0].startswith("not shown: 4 circuits, older")


@pytest.mark.slow
def test_the_newest_answers_are_shown_with_the_same_images_under_all_conditions(store_of):
    """With other images, the first class has one newer answer, and no other one that is comparable with it."""
    items, newer = effect_items(2), newer_items(7, "float32")
    store = store_of(Answers.to([*items, newer[0]]))
    (study,) = read_studies(store)
    assert set(study.circuits["discovery_id"]) == {newer[0].id, items[2].id, items[3].id}
    assert study.notes[0].startswith("not shown: 2 circuits, older or with other images")
    (study,) = read_studies(store_of(Answers.to(newer[1:])))
    assert set(study.circuits["discovery_id"]) == {i.id for i in newer}
    assert study.notes[0].startswith("not shown: 4 circuits, older")


def test_a_run_has_its_own_circuits_and_an_unknown_run_raises_an_error(toy_store):
    assert len(read_studies(toy_store, "toys")) == 2
    with pytest.raises(InputError, match="toys"):
        read_studies(toy_store, "toy")


def test_models_with_the_same_name_have_separate_studies(store_of):
    base = effect_items(2)
    tuned = [of_model(item, base[0].model.name, "f" * 64) for item in base]
    answers = Answers.to([*base, *tuned])
    studies = read_studies(store_of(answers))
    assert len(studies) == 2
    for study in studies:
        (id,) = study.circuits["model_id"].unique()
        assert study.common["model"] == f"{base[0].model.name} ({id[:8]})"
        assert set(study.circuits["id"]) == {r.id for r in answers.of(model_id=id)}


def test_flagged_circuits_are_listed_but_in_no_array(store_of):
    answers = Answers.to(effect_items(3))
    answers.records[0] = whole(answers.records[0])
    (study,) = read_studies(store_of(answers))
    counted = [r for r in answers.records if not r.flag]
    assert study.flagged["id"].tolist() == [answers.records[0].id]
    assert set(study.circuits["id"]) == {r.id for r in counted}
    assert len(study.members) == len(study.scores) == len(study.entries) == len(counted) == 5
    assert [entry.item.target_class.name for entry in study.entries] == study.circuits["class"].tolist()
    assert study.listed["class"].tolist() == ["class-0", "class-1", "class-2"] * 2
    assert study.listed["condition"].tolist()[:3] == ["natural"] * 3


def test_a_flagged_circuit_is_not_replaced_by_an_older_one(store_of):
    items = effect_items(1, ("natural",))
    older, newer = Answers.to(items), Answers.to(newer_items(7, "float32")[:1])
    newer.records[0] = whole(newer.records[0])
    store = store_of(Answers([*older.discoveries, *newer.discoveries], [*older.records, *newer.records]))
    (study,) = read_studies(store)
    assert study.circuits.empty
    assert study.flagged["id"].tolist() == [newer.records[0].id]
    assert study.members.shape == (0, study.universe.n_edges)
