"""The noise floor of a circuit, and the choice of circuits whose noise floor is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import greedy, halvings
from circuitstore.query.floors import floor_of, spread
from circuitstore.query.measures import MEASURES, get_measure
from circuitstore.testing.factories import make_discovery, make_item, make_record
from hypothesis import given
from hypothesis import strategies as st

JACCARD = MEASURES["jaccard"]


@pytest.fixture(scope="module")
def discovery():
    return make_discovery(item=make_item(n_layers=3, n_heads=2))


def test_changed_edges_are_counted_edge_by_edge(discovery):
    found = floor_of(make_record(discovery, 24), discovery, JACCARD)
    assert found is not None and found.changed is not None
    halves = [tuple(greedy(half, 24).members for half in pair) for pair in halvings(discovery.scores)]
    assert len(halves) == 20
    expected = np.sum([(b & ~a).astype(int) + (a & ~b) for a, b in halves], axis=0) / 2 / len(halves)
    assert found.changed == pytest.approx(expected)
    assert found.n_changed == pytest.approx(np.mean([(a ^ b).sum() / 2 for a, b in halves]))
    assert found.n_changed > 0


def test_measures_of_scores_have_a_floor_and_change_no_edges(discovery):
    found = floor_of(make_record(discovery, 24), discovery, get_measure("spearman"))
    assert found is not None and found.changed is None
    assert 0 < found.value < 1
    assert np.isnan(found.n_changed)


def test_images_that_agree_have_a_floor_without_changes(discovery):
    same = replace(discovery.scores, per_image=np.tile(discovery.scores.mean, (6, 1)))
    floor = floor_of(make_record(discovery, 24), replace(discovery, scores=same), JACCARD)
    assert floor is not None and floor.changed is not None
    assert floor.value == 1
    assert not floor.changed.any()


def test_no_floor_without_scores_per_image_or_with_one_image(discovery):
    record, scores = make_record(discovery, 24), discovery.scores
    for kept in (None, scores.per_image[:1]):
        assert floor_of(record, replace(discovery, scores=replace(scores, per_image=kept)), JACCARD) is None


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.sampled_from([8, 6_000, 32_491]))
def test_noise_floors_share_one_budget_over_all_groups(counts: list[int], n_edges: int) -> None:
    chosen = spread(counts, n_edges)
    limit = {8: 400, 6_000: 100, 32_491: 18}[n_edges]
    assert sum(map(len, chosen)) == min(sum(counts), limit)
    for count, rows in zip(counts, chosen, strict=True):
        assert rows == sorted(set(rows) & set(range(count)))
        assert abs(len(rows) - count * min(1, limit / sum(counts))) < 1
