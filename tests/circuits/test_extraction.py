"""Top-n, threshold and greedy compared with literal re-implementations, including ties and sizes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from circuitstore.circuits import (
    FORMS,
    ComputationGraph,
    EdgeScores,
    connected,
    greedy,
    joining_order,
    size_grid,
    threshold,
    top,
)
from circuitstore.circuits.extraction import edge_count
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def score_sets(draw: st.DrawFn) -> EdgeScores:
    """Scores with ties: small integers, both signs."""
    graph = ComputationGraph(draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from(FORMS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([2, 5, 1000]))
    return EdgeScores(graph, rng.integers(-spread, spread + 1, graph.n_edges).astype(np.float32))


def naive_greedy(scores: EdgeScores, n: int, absolute: bool) -> list[int]:
    """EAP-IG's `apply_greedy` with a plain list of candidates; ties go to the lower flat index.

    In the `attention` form, a head's incoming edges are those of its layer's input node.
    """
    graph = scores.graph
    above = {below: over for over, below in graph.structural_links}

    def incoming(node: str) -> list[int]:
        node = above.get(node, node)
        return [i for i in range(graph.n_edges) if graph.edge(i).receiver == node]

    def value(i: int) -> float:
        return abs(float(scores.mean[i])) if absolute else float(scores.mean[i])

    candidates, seen, chosen = incoming("logits"), {"logits"}, []
    while candidates and len(chosen) < n:
        best = min(candidates, key=lambda i: (-value(i), i))
        candidates.remove(best)
        chosen.append(best)
        sender = graph.edge(best).sender
        sender = above.get(sender, sender)
        if sender not in seen:
            seen.add(sender)
            candidates += incoming(sender)
    return chosen


@given(score_sets(), st.booleans(), st.data())
def test_a_connected_circuit_has_all_of_the_best_edges_and_no_unnecessary_edge(
    scores: EdgeScores, absolute: bool, data: st.DataObject
) -> None:
    graph = scores.graph
    n = data.draw(st.integers(1, graph.n_edges))
    circuit = connected(scores, n, absolute=absolute)
    best = joining_order(graph, scores.mean, "top", absolute=absolute, limit=n)
    assert circuit.members[best].all()
    assert np.array_equal(graph.prune(circuit.members), circuit.members)
    loose = top(scores, n, absolute=absolute)
    if loose.n_edges == n:  # nothing to connect
        assert circuit.n_edges == n
    assert circuit.order[:n].tolist() == best.tolist()
    for edge in circuit.order[n:]:
        without = circuit.members.copy()
        without[edge] = False
        assert not graph.prune(without)[best].all(), "an added edge that nothing needs"


def test_an_edge_that_another_one_makes_unnecessary_is_not_added() -> None:
    """m0 only has an output, so `input->m0` is its best input; a0 only has an input, so `a0->m0` is its best output."""
    graph = ComputationGraph(1, 1, "block")
    value = {"m0->logits": 9, "input->a0": 8, "input->m0": 3, "a0->m0": 2, "a0->logits": 1, "input->logits": 0}
    scores = EdgeScores(graph, np.array([value[name] for name in graph.edge_names], np.float32))
    assert set(connected(scores, 2).edges) == {"m0->logits", "input->a0", "a0->m0"}


@given(score_sets(), st.booleans())
def test_greedy_is_the_literal_algorithm(scores: EdgeScores, absolute: bool) -> None:
    order = joining_order(scores.graph, scores.mean, "greedy", absolute=absolute)
    assert order.tolist() == naive_greedy(scores, scores.graph.n_edges, absolute)


@given(score_sets(), st.booleans(), st.data())
def test_a_greedy_circuit_is_a_pruned_prefix(scores: EdgeScores, absolute: bool, data: st.DataObject) -> None:
    graph = scores.graph
    n = data.draw(st.integers(0, graph.n_edges))
    circuit = greedy(scores, n, absolute=absolute)
    chosen = np.zeros(graph.n_edges, bool)
    prefix = naive_greedy(scores, n, absolute)
    chosen[prefix] = True
    assert (circuit.members == graph.prune(chosen)).all()
    assert circuit.order.tolist() == [i for i in prefix if circuit.members[i]]
    assert (circuit.size_requested, circuit.n_edges) == (n, int(circuit.members.sum()))


@given(score_sets(), st.booleans())
def test_top_order_is_by_value_then_by_index(scores: EdgeScores, absolute: bool) -> None:
    value = np.abs(scores.mean) if absolute else scores.mean
    order = joining_order(scores.graph, scores.mean, "top", absolute=absolute).tolist()
    assert order == sorted(range(scores.graph.n_edges), key=lambda i: (-value[i], i))


@given(score_sets(), st.booleans(), st.data())
def test_top_sets_are_nested_before_pruning(scores: EdgeScores, absolute: bool, data: st.DataObject) -> None:
    small, large = sorted(data.draw(st.tuples(*[st.integers(0, scores.graph.n_edges)] * 2)))
    value = np.abs(scores.mean) if absolute else scores.mean
    order = joining_order(scores.graph, scores.mean, "top", absolute=absolute)
    assert set(order[:small]) <= set(order[:large])
    if small:
        assert value[order[:small]].min() >= np.delete(value, order[:small]).max(initial=-np.inf)
    # a path within the smaller set is a path within the larger one, so pruned circuits are nested too
    assert not (top(scores, small, absolute=absolute).members & ~top(scores, large, absolute=absolute).members).any()


@given(score_sets(), st.booleans(), st.integers(-3, 3))
def test_threshold_takes_the_edges_that_reach_it(scores: EdgeScores, absolute: bool, t: int) -> None:
    circuit = threshold(scores, t, absolute=absolute)
    value = np.abs(scores.mean) if absolute else scores.mean
    assert (circuit.members == scores.graph.prune(value >= t)).all()
    assert circuit.size_requested == int((value >= t).sum())


@given(score_sets())
def test_threshold_at_a_score_is_the_top_set_with_its_ties(scores: EdgeScores) -> None:
    values = np.sort(scores.mean)[::-1]
    n = int((values >= values[len(values) // 2]).sum())
    assert (threshold(scores, float(values[n - 1])).members == top(scores, n).members).all()


@given(score_sets())
def test_all_edges_are_a_circuit_of_all_edges(scores: EdgeScores) -> None:
    for circuit in (
        top(scores, 1.0),
        greedy(scores, scores.graph.n_edges),
        threshold(scores, float(scores.mean.min())),
    ):
        assert circuit.members.all()


@given(st.floats(0, 1, exclude_min=True))
def test_a_fraction_is_rounded_to_the_nearest_count(fraction: float) -> None:
    graph = ComputationGraph(4, 4)
    assert abs(edge_count(graph, fraction) - fraction * graph.n_edges) <= 0.5


def test_a_fraction_and_a_count_are_distinguished() -> None:
    scores = EdgeScores(ComputationGraph(1, 1), np.arange(8, dtype=np.float32))
    assert top(scores, 1).size_requested == 1
    assert top(scores, 1.0).size_requested == 8
    assert top(scores, 0.25).size_requested == 2


@pytest.mark.parametrize("size", [-1, 9, 0.0, 1.5, 24.0, float("nan")])
def test_impossible_sizes_raise(size: float) -> None:
    scores = EdgeScores(ComputationGraph(1, 1), np.arange(8, dtype=np.float32))
    with pytest.raises(InputError, match="size"):
        top(scores, size)


@pytest.mark.parametrize("t", [float("nan"), float("inf")])
def test_impossible_thresholds_raise(t: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        threshold(EdgeScores(ComputationGraph(1, 1), np.zeros(8, np.float32)), t)


def test_the_extraction_text_has_the_exact_threshold() -> None:
    scores = EdgeScores(ComputationGraph(1, 1), np.linspace(0, 1, 8, dtype=np.float32))
    assert threshold(scores, 0.1234567).extraction == "threshold(t=0.1234567)"


@given(st.integers(1, 500_000))
def test_the_size_grid_is_geometric_and_ends_with_all_edges(n_edges: int) -> None:
    grid = size_grid(n_edges)
    assert (grid[0], grid[-1]) == (1, n_edges)
    for a, b in pairwise(grid):
        assert b == min(n_edges, int(np.ceil(a * 1.25))) > a
