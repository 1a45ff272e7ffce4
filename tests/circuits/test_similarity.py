"""Similarity compared with set arithmetic and published values."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from circuitstore.circuits import FORMS, Circuit, ComputationGraph, EdgeScores, similarity, top
from circuitstore.errors import InputError, NotComparable
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats


@st.composite
def pairs(draw: st.DrawFn) -> tuple[EdgeScores, EdgeScores]:
    """Two score sets of one graph, with ties."""
    graph = ComputationGraph(draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from(FORMS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    a, b = rng.integers(-6, 7, (2, graph.n_edges)).astype(np.float32)
    return EdgeScores(graph, a), EdgeScores(graph, b)


@given(pairs(), st.data())
def test_set_measures_equal_set_arithmetic(pair: tuple[EdgeScores, EdgeScores], data: st.DataObject) -> None:
    sizes = [data.draw(st.integers(0, s.graph.n_edges)) for s in pair]
    a, b = (top(s, n) for s, n in zip(pair, sizes, strict=True))
    edges, nodes = (set(a.edges), set(b.edges)), (set(a.nodes), set(b.nodes))

    def iou(first: set[str], second: set[str]) -> float:
        return len(first & second) / len(first | second) if first | second else 1.0

    assert similarity.jaccard(a, b) == pytest.approx(iou(*edges))
    assert similarity.node_jaccard(a, b) == pytest.approx(iou(*nodes))
    both = len(edges[0]) + len(edges[1])
    assert similarity.dice(a, b) == pytest.approx(2 * len(edges[0] & edges[1]) / both if both else 1.0)
    matrix = similarity.jaccard_matrix(np.stack([a.members, b.members]))
    np.testing.assert_allclose(matrix, [[1, iou(*edges)], [iou(*edges), 1]])


@given(pairs(), st.booleans(), st.data())
def test_overlap_counts_common_best_edges(
    pair: tuple[EdgeScores, EdgeScores], absolute: bool, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, pair[0].graph.n_edges))

    def best(scores: EdgeScores) -> set[int]:
        value = np.abs(scores.mean) if absolute else scores.mean
        return set(sorted(range(len(value)), key=lambda i: (-value[i], i))[:n])

    common = best(pair[0]) & best(pair[1])
    assert similarity.overlap_at(*pair, n, absolute=absolute) == pytest.approx(len(common) / n)
    assert similarity.overlap_at(pair[0], pair[0], n) == 1


@given(pairs())
def test_rank_correlation_is_scipys(pair: tuple[EdgeScores, EdgeScores]) -> None:
    if any(np.ptp(s.mean) == 0 for s in pair):
        assert np.isnan(similarity.spearman(*pair))
        return
    assert similarity.spearman(*pair) == pytest.approx(stats.spearmanr(pair[0].mean, pair[1].mean).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def test_rank_correlation_of_constant_scores_is_undefined() -> None:
    graph = ComputationGraph(1, 1)
    flat = EdgeScores(graph, np.ones(8, np.float32))
    assert np.isnan(similarity.spearman(flat, EdgeScores(graph, np.arange(8, dtype=np.float32))))


@given(pairs(), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_weighted_jaccard_ignores_scale_and_sign(pair: tuple[EdgeScores, EdgeScores], one: float, two: float) -> None:
    a, b = pair
    value = similarity.weighted_jaccard(a, b)
    assert 0 <= value <= 1
    assert similarity.weighted_jaccard(a, EdgeScores(a.graph, -one * a.mean)) == pytest.approx(1)
    scaled = similarity.weighted_jaccard(EdgeScores(a.graph, one * a.mean), EdgeScores(a.graph, two * b.mean))
    assert scaled == pytest.approx(value, rel=1e-6)


def test_weighted_jaccard_reference_value() -> None:
    a, b = np.zeros(8), np.zeros(8)
    a[:2], b[[0, 2]] = [1, 2], [2, 1]  # {x: 1, y: 2} against {x: 2, z: 1}
    graph = ComputationGraph(1, 1)
    assert similarity.weighted_jaccard(EdgeScores(graph, a), EdgeScores(graph, b)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 0.005), (0.05, 0.026), (0.1, 0.053), (0.2, 0.111), (0.5, 0.333)]
)
def test_chance_level_table(share: float, expected: float) -> None:
    """Two random sets with a share r of ViT-B's 32,491 edges: about r / (2 - r)."""
    n = round(share * 32_491)
    assert similarity.expected_jaccard(n, n, 32_491) == pytest.approx(expected, abs=5e-4)
    assert similarity.expected_jaccard(n, n, 32_491) == pytest.approx(share / (2 - share), rel=5e-3)


@given(st.integers(1, 12), st.data())
def test_chance_level_is_the_mean_over_all_sets(n_edges: int, data: st.DataObject) -> None:
    a, b = data.draw(st.tuples(*[st.integers(0, n_edges)] * 2))
    weights = [comb(a, k) * comb(n_edges - a, b - k) for k in range(min(a, b) + 1)]
    values = [k / (a + b - k) if a + b else 1.0 for k in range(min(a, b) + 1)]
    exact = sum(w * v for w, v in zip(weights, values, strict=True)) / comb(n_edges, b)
    assert similarity.expected_jaccard(a, b, n_edges) == pytest.approx(exact, abs=1e-12)


def test_matrices_equal_the_pairwise_measures() -> None:
    rng = np.random.default_rng(0)
    graph = ComputationGraph(3, 3)
    many = [EdgeScores(graph, rng.normal(size=graph.n_edges)) for _ in range(6)]
    circuits = [s.greedy(30) for s in many]
    jaccard = similarity.jaccard_matrix(np.stack([c.members for c in circuits]))
    spearman = similarity.spearman_matrix(np.stack([s.mean for s in many]))
    for i in range(6):
        for j in range(6):
            assert jaccard[i, j] == pytest.approx(similarity.jaccard(circuits[i], circuits[j]))
            assert spearman[i, j] == pytest.approx(similarity.spearman(many[i], many[j]))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_rank_correlations_do_not_depend_on_blocks(n: int, rows: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 5, (n, 40)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_ROWS", rows)
        blocked = similarity.spearman_matrix(iter(scores))
    whole = similarity.spearman_matrix(scores)
    assert blocked.shape == (n, n)
    np.testing.assert_allclose(blocked, whole, atol=1e-12)
    np.testing.assert_array_equal(blocked, blocked.T)


def test_two_empty_circuits_are_the_same() -> None:
    empty = Circuit.from_edges(ComputationGraph(1, 1), [])
    assert similarity.jaccard(empty, empty) == similarity.dice(empty, empty) == 1
    assert similarity.jaccard_matrix(np.zeros((2, 8), bool)).tolist() == [[1, 1], [1, 1]]


def test_overlap_of_more_edges_than_the_graph_has_raises() -> None:
    scores = EdgeScores(ComputationGraph(1, 1), np.zeros(8))
    with pytest.raises(InputError, match="0 to 8 edges"):
        similarity.overlap_at(scores, scores, 9)


def test_other_graphs_are_not_comparable() -> None:
    a, b = (EdgeScores(g, np.zeros(g.n_edges)) for g in (ComputationGraph(1, 1), ComputationGraph(1, 1, "head")))
    for measure in (similarity.spearman, similarity.weighted_jaccard):
        with pytest.raises(NotComparable, match=r"form='split'.*form='head'"):
            measure(a, b)
    with pytest.raises(NotComparable, match="project additive scores"):
        similarity.jaccard(top(a, 1), top(b, 1))


@given(st.integers(1, 40), st.data())
def test_overlap_p_values_are_scipys(n_edges: int, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, n_edges)] * 2), min_size=1, max_size=5))
    a, b = np.array(pairs).T
    common = np.array([data.draw(st.integers(max(0, x + y - n_edges), min(x, y))) for x, y in pairs])
    found = similarity.overlap_p_values(common, a, b, n_edges)
    np.testing.assert_allclose(found, stats.hypergeom.sf(common - 1, n_edges, a, b), rtol=1e-9)


def test_overlap_p_values_do_not_depend_on_blocks() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 400, (2, 100))
    common = np.array([rng.integers(max(0, x + y - 400), min(x, y) + 1) for x, y in zip(a, b, strict=True)])
    whole = similarity.overlap_p_values(common, a, b, 400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_BLOCK", 7)
        np.testing.assert_allclose(similarity.overlap_p_values(common, a, b, 400), whole, rtol=1e-12)
    assert len(similarity.overlap_p_values(common[:0], a[:0], b[:0], 400)) == 0


@pytest.mark.parametrize(
    ("a", "b"), [(1625, 1625), (1, 32_491), (32_000, 31_000), (16_000, 16_000), (0, 9), (40, 2000)]
)
def test_the_chance_level_of_large_circuits_leaves_out_only_what_is_improbable(a: int, b: int) -> None:
    common = np.arange(max(0, a + b - 32_491), min(a, b) + 1)
    exact = (stats.hypergeom.pmf(common, 32_491, a, b) * common / np.maximum(a + b - common, 1)).sum()
    assert similarity.expected_jaccard(a, b, 32_491) == pytest.approx(exact, rel=1e-8)


def test_overlap_p_values_of_large_circuits_stay_exact() -> None:
    common = np.array([0, 60, 81, 200, 1625])
    found = similarity.overlap_p_values(common, np.full(5, 1625), np.full(5, 1625), 32_491)
    np.testing.assert_allclose(found[:4], stats.hypergeom.sf(common[:4] - 1, 32_491, 1625, 1625), rtol=1e-7)
    assert 0 <= found[4] < 1e-300
