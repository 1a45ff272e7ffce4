"""Gained and lost edges, compared with naive counts over the records."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.analysis.changes import changes
from circuitstore.circuits import greedy, halvings

from ..toy_studies import Answers, effect_items
from .conftest import overview_of

TYPOGRAPHIC = "typographic(text=other class)"


@pytest.fixture(scope="module")
def effect():
    return overview_of(Answers.to(effect_items()))


@pytest.fixture(scope="module")
def by_class(effect):
    """Return the records by class and kind of condition."""
    return {(r.item.target_class.name, r.item.condition.kind): r for r in effect.records.values()}


def test_gained_and_lost_are_counted_per_class(effect, by_class):
    found = changes(effect.study, TYPOGRAPHIC, effect.floors, effect.swaps)
    assert len(found.by_class) == 4
    for row in found.by_class.to_dict("records"):
        was, now = (set(by_class[row["class"], kind].circuit.edges) for kind in ("natural", "typographic"))
        assert (row["kept"], row["gained"], row["lost"]) == (len(was & now), len(now - was), len(was - now))
        assert row["jaccard"] == pytest.approx(len(was & now) / len(was | now))
        assert row["edges_natural"] + row["gained"] - row["lost"] == row["edges"]


def test_gained_and_lost_are_counted_per_edge(effect, by_class):
    found = changes(effect.study, TYPOGRAPHIC, effect.floors, effect.swaps)
    table = found.by_edge.set_index("edge")
    names = found.by_class["class"]
    for edge in effect.study.universe.edge_names:
        was = [edge in by_class[c, "natural"].circuit.edges for c in names]
        now = [edge in by_class[c, "typographic"].circuit.edges for c in names]
        gained = sum(n and not w for w, n in zip(was, now, strict=True))
        lost = sum(w and not n for w, n in zip(was, now, strict=True))
        assert (gained, lost) == (tuple(table.loc[edge, ["gained_in", "lost_in"]]) if edge in table.index else (0, 0))
    assert found.by_edge[["gained_in", "lost_in"]].max(axis=1).is_monotonic_decreasing
    mean = np.mean([by_class[c, "natural"].circuit.score for c in names], axis=0)
    at = effect.study.universe.edge_index[table.index[0]]
    assert table["score_natural"].iloc[0] == pytest.approx(mean[at])


def test_the_floor_is_what_halves_of_the_natural_images_change(effect, by_class):
    found = changes(effect.study, TYPOGRAPHIC, effect.floors, effect.swaps)
    answers = Answers.to(effect_items())
    expected = []
    for discovery in (d for d in answers.discoveries if d.item.condition.kind == "natural"):
        halves = [tuple(greedy(s, 30).members for s in pair) for pair in halvings(discovery.scores)]
        expected.append(np.mean([(b & ~a).sum() + (a & ~b).sum() for a, b in halves]) / 2)
    assert found.by_class["floor"].tolist() == pytest.approx(expected)
    assert found.floor == pytest.approx(np.mean(expected))
    assert found.by_edge["floor"].sum() <= sum(expected) + 1e-4


def test_without_natural_circuits_nothing_is_gained():
    shown = overview_of(Answers.to(effect_items(2, ("typographic",))))
    assert changes(shown.study, TYPOGRAPHIC, shown.floors, shown.swaps) is None
    assert shown.changes == ()
