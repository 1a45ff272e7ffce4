"""The overview of a study: similarity of classes, and reasons for missing values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits.similarity import expected_jaccard, jaccard

from ..toy_studies import Answers, effect_items
from .conftest import overview_of

TYPOGRAPHIC = "typographic(text=other class)"


@pytest.fixture(scope="module")
def effect():
    return overview_of(Answers.to(effect_items()))


def test_classes_are_compared_by_jaccard_with_noise_floor_and_exact_chance(effect):
    assert list(effect.similarities) == ["natural", TYPOGRAPHIC]
    by_class = {r.item.target_class.name: r for r in effect.records.values() if r.item.condition.kind == "natural"}
    found = effect.similarities["natural"]
    assert found.labels == ("class-0", "class-1", "class-2", "class-3")
    for i, a in enumerate(found.labels):
        for j, b in enumerate(found.labels):
            circuits = [by_class[name].circuit for name in (a, b)]
            sizes = [circuit.n_edges for circuit in circuits]
            assert found.values[i, j] == pytest.approx(jaccard(*circuits))
            assert found.chance[i, j] == expected_jaccard(*sorted(sizes), effect.study.universe.n_edges)
    assert found.floors.diagonal().tolist() == [effect.floors[row].value for row in range(4)]


def test_two_whole_graphs_are_not_the_most_similar():
    answers = Answers.to(effect_items(4, ("natural",)))
    records = answers.records
    whole = np.ones_like(records[0].circuit.members)
    records[:2] = [replace(r, circuit=replace(r.circuit, members=whole, order=np.empty(0, int))) for r in records[:2]]
    records[3] = replace(records[3], circuit=records[2].circuit)
    pairs = overview_of(answers).similarities["natural"].above_chance
    assert tuple(pairs.loc[0, ["a", "b"]]) == ("class-2", "class-3")
    assert pairs.set_index(["a", "b"]).loc[("class-0", "class-1"), "chance"] == pytest.approx(1)


def test_a_condition_with_one_class_has_no_similarity():
    assert overview_of(Answers.to(effect_items(1))).similarities == {}


def test_circuits_without_faithfulness_have_a_reason():
    answers = Answers.to(effect_items(3, ("natural",)))
    evaluation = replace(answers.records[0].evaluation, faithfulness=None)
    stated = replace(evaluation, reasons={"faithfulness": "the gap is small"})
    answers.records[0] = replace(answers.records[0], evaluation=evaluation)
    answers.records[1] = replace(answers.records[1], evaluation=stated)
    answers.records[2] = replace(answers.records[2], evaluation=None)
    assert overview_of(answers).reasons == {0: "no reason is stored", 1: "the gap is small", 2: "no report images"}
