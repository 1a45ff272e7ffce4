"""The numbers of a report, each against a naive count over the records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.analysis.findings import (
    carriers,
    chance_levels,
    changes,
    faithfulness,
    random_faithfulness,
    similarity,
)
from circuitstore.analysis.floors import floor_of
from circuitstore.circuits import greedy, halvings
from circuitstore.circuits.similarity import expected_jaccard, jaccard
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Answers, contrasted, effect_items, mechanism_items, part_of, study_of, with_faithfulness

TYPOGRAPHIC = "typographic(text=other class)"


@pytest.fixture(scope="module")
def effect():
    return part_of(Answers.to(effect_items()))


@pytest.fixture(scope="module")
def by_class(effect):
    """Records by class and condition's kind."""
    return {(r.item.target_class.name, r.item.condition.kind): r for r in effect.records.values()}


def test_similarity_is_the_jaccard_of_each_pair(effect, by_class):
    found = similarity(effect.study, "natural", effect.floors)
    assert found.classes == ("class-0", "class-1", "class-2", "class-3")
    for i, a in enumerate(found.classes):
        for j, b in enumerate(found.classes):
            pair = (by_class[name, "natural"].circuit for name in (a, b))
            assert found.jaccard[i, j] == pytest.approx(jaccard(*pair))


def test_pairs_are_all_pairs_once_the_most_above_chance_first(effect):
    found = similarity(effect.study, TYPOGRAPHIC, effect.floors)
    pairs = found.pairs
    assert {frozenset(p) for p in pairs[["class_a", "class_b"]].itertuples(index=False)} == {
        frozenset((a, b)) for a in found.classes for b in found.classes if a < b
    }
    above = (pairs["jaccard"] - pairs["chance"]) / (1 - pairs["chance"])
    assert above.is_monotonic_decreasing


def test_two_whole_graphs_are_not_told_to_be_alike():
    records = Answers.to(effect_items(4, ("natural",))).records
    whole = np.ones_like(records[0].circuit.members)
    records[0], records[1] = (
        replace(r, circuit=replace(r.circuit, members=whole, order=np.empty(0, int))) for r in records[:2]
    )
    records[3] = replace(records[3], circuit=records[2].circuit)
    pairs = similarity(study_of(records), "natural", {}).pairs
    assert tuple(pairs.loc[0, ["class_a", "class_b"]]) == ("class-2", "class-3")
    assert pairs.set_index(["class_a", "class_b"]).loc[("class-0", "class-1"), "chance"] == 1.0


@given(st.integers(1, 400), st.integers(1, 400), st.integers(400, 2000))
def test_chance_is_the_exact_mean_to_two_digits(a, b, n):
    assert chance_levels(np.array([a, b]), n)[0, 1] == pytest.approx(expected_jaccard(a, b, n), abs=0.01)


def test_gained_and_lost_are_counted_per_class(effect, by_class):
    found = changes(effect.study, TYPOGRAPHIC, effect.floors)
    assert len(found.by_class) == 4
    for row in found.by_class.to_dict("records"):
        was, now = (set(by_class[row["class"], kind].circuit.edges) for kind in ("natural", "typographic"))
        assert (row["kept"], row["gained"], row["lost"]) == (len(was & now), len(now - was), len(was - now))
        assert row["jaccard"] == pytest.approx(len(was & now) / len(was | now))
        assert row["natural"] + row["gained"] - row["lost"] == row["attacked"]


def test_gained_and_lost_are_counted_per_edge(effect, by_class):
    found = changes(effect.study, TYPOGRAPHIC, effect.floors)
    table = found.by_edge.set_index("edge")
    names = found.by_class["class"]
    for edge in effect.study.graph.edge_names:
        was = [edge in by_class[c, "natural"].circuit.edges for c in names]
        now = [edge in by_class[c, "typographic"].circuit.edges for c in names]
        gained = sum(n and not w for w, n in zip(was, now, strict=True))
        lost = sum(w and not n for w, n in zip(was, now, strict=True))
        assert (gained, lost) == (tuple(table.loc[edge, ["gained_in", "lost_in"]]) if edge in table.index else (0, 0))
    assert found.by_edge[["gained_in", "lost_in"]].max(axis=1).is_monotonic_decreasing
    mean = np.mean([by_class[c, "natural"].circuit.score for c in names], axis=0)
    at = effect.study.graph.edge_index[table.index[0]]
    assert table["score_natural"].iloc[0] == pytest.approx(mean[at])


def test_the_floor_is_what_halves_of_the_natural_images_change(effect, by_class):
    found = changes(effect.study, TYPOGRAPHIC, effect.floors)
    answers = Answers.to(effect_items())
    expected = []
    for discovery in (d for d in answers.discoveries if d.item.condition.kind == "natural"):
        halves = [tuple(greedy(s, 30).members for s in pair) for pair in halvings(discovery.scores)]
        expected.append(np.mean([(b & ~a).sum() + (a & ~b).sum() for a, b in halves]) / 2)
    assert found.by_class["floor"].tolist() == pytest.approx(expected)
    assert found.floor == pytest.approx(np.mean(expected))
    assert found.by_edge["floor"].sum() <= sum(expected) + 1e-4


def test_images_that_agree_have_a_floor_without_changes():
    discovery = Answers.to(effect_items(1, ("natural",))).discoveries[0]
    same = replace(discovery.scores, per_image=np.tile(discovery.scores.mean, (6, 1)))
    record = Answers.to(effect_items(1, ("natural",))).records[0]
    floor = floor_of(record, replace(discovery, scores=same))
    assert floor.jaccard == 1
    assert not floor.changed.any()


def test_no_floor_without_scores_per_image_or_with_one_image():
    answers = Answers.to(effect_items(1, ("natural",)))
    record, scores = answers.records[0], answers.discoveries[0].scores
    for kept in (None, scores.per_image[:1]):
        assert floor_of(record, replace(answers.discoveries[0], scores=replace(scores, per_image=kept))) is None


def test_without_natural_circuits_nothing_is_gained():
    part = part_of(Answers.to(effect_items(2, ("typographic",))))
    assert changes(part.study, TYPOGRAPHIC, part.floors) is None
    assert part.changes == ()


def test_carriers_are_means_and_counts_over_classes():
    answers = Answers.to(mechanism_items())
    study = study_of(answers.records)
    table = carriers(study, TYPOGRAPHIC).set_index("edge")
    scores = np.stack([r.circuit.score for r in answers.records]).astype(float)
    for edge, row in table.iterrows():
        at = study.graph.edge_index[edge]
        assert row["circuits"] == sum(edge in r.circuit.edges for r in answers.records) > 0
        assert row["score"] == pytest.approx(scores[:, at].mean())
        assert row["error"] == pytest.approx(scores[:, at].std(ddof=1) / 2)
        assert row["positive"] == (scores[:, at] > 0).sum()
    assert table["score"].is_monotonic_decreasing
    assert table["circuits"].sum() == sum(r.circuit.n_edges for r in answers.records)
    assert table["by_chance"].iloc[0] * study.graph.n_edges == pytest.approx(table["circuits"].sum())


def test_methods_that_only_select_have_carriers_without_scores():
    records = [
        replace(r, circuit=replace(r.circuit, score=None, std=None)) for r in Answers.to(mechanism_items()).records
    ]
    table = carriers(study_of(records), TYPOGRAPHIC)
    assert list(table.columns) == ["edge", "circuits", "by_chance"]
    assert table["circuits"].is_monotonic_decreasing


def test_faithfulness_of_random_circuits_is_that_of_their_metric(effect, by_class):
    evaluation = by_class["class-0", "natural"].evaluation
    values = random_faithfulness(evaluation)
    gap = evaluation.metric_full - evaluation.metric_empty
    assert values == pytest.approx([(m - evaluation.metric_empty) / gap for m in evaluation.metric_random])
    assert np.mean(values) == pytest.approx(evaluation.faithfulness_random)
    assert random_faithfulness(replace(evaluation, faithfulness=None)) == []


def test_the_faithfulness_table_holds_the_records_figures(effect):
    table = faithfulness(effect.study.circuits).drop(columns="nearer_than_random")
    for i, row in enumerate(table.to_dict("records")):
        told = effect.records[i].properties()
        assert {k: told[k] for k in row} == row


@pytest.mark.parametrize(
    ("own", "random", "nearer"),
    [(0.9, 0.2, True), (3.82, 1.21, False), (1.1, 0.8, True), (1.3, 0.8, False), (0.5, 1.4, False), (1.0, 1.0, False)],
)
def test_nearer_than_random_means_nearer_to_1(own, random, nearer):
    records = [with_faithfulness(r, own, random) for r in Answers.to(effect_items(1, ("natural",))).records]
    (found,) = faithfulness(study_of(records).circuits)["nearer_than_random"]
    assert found == nearer


def test_without_random_circuits_or_faithfulness_none_is_nearer():
    records = Answers.to(effect_items(2, ("natural",))).records
    records[0] = replace(records[0], evaluation=replace(records[0].evaluation, metric_random=()))
    records[1] = replace(records[1], evaluation=replace(records[1].evaluation, faithfulness=None))
    assert faithfulness(study_of(records).circuits)["nearer_than_random"].isna().all()


def test_word_target_and_contrast_are_columns_where_a_circuit_has_them():
    plain, attacked = effect_items(1)
    table = faithfulness(study_of(Answers.to([plain]).records).circuits)
    assert not {"word", "target", "against", "flag"} & set(table)
    items = [contrasted(plain, "b", "c"), contrasted(attacked, "b", "c", word="ipod")]
    table = faithfulness(study_of(Answers.to(items).records).circuits)
    assert table["against"].tolist() == ["b, c"] * 2
    assert table["word"].fillna("").tolist() == table["target"].fillna("").tolist() == ["", "ipod"]
