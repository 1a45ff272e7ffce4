"""Consensus circuits, enrichment and use of components, compared with set arithmetic and enumeration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from circuitstore.circuits import (
    Circuit,
    ComputationGraph,
    EdgeScores,
    component_usage,
    consensus,
    enrichment,
    greedy,
    mean_ranks,
)
from circuitstore.errors import InputError, NotComparable
from hypothesis import given
from hypothesis import strategies as st

GRAPH = ComputationGraph(2, 2)


def some_circuits(count: int, n: int, seed: int) -> list[Circuit]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=GRAPH.n_edges)
    scores = [EdgeScores(GRAPH, shared + 0.7 * rng.normal(size=GRAPH.n_edges)) for _ in range(count)]
    return [greedy(s, n) for s in scores]


@given(st.integers(1, 5), st.integers(1, 30), st.floats(0.01, 1.0), st.integers(0, 99))
def test_the_consensus_has_the_edges_of_enough_circuits(count: int, n: int, share: float, seed: int) -> None:
    circuits = some_circuits(count, n, seed)
    found = consensus(circuits, share)
    enough = {
        edge for edge in GRAPH.edge_names if sum(edge in c.edges for c in circuits) >= max(1, share * count - 1e-9)
    }
    assert set(found.edges) <= enough
    np.testing.assert_array_equal(found.members, GRAPH.prune(np.isin(GRAPH.edge_names, list(enough))))
    ranks = {e: [list(c.order).index(e) + 1 for c in circuits if c.members[e]] for e in found.order}
    keys = [(-len(r), float(np.mean(r))) for r in ranks.values()]
    assert keys == sorted(keys)
    np.testing.assert_allclose(mean_ranks(circuits)[found.order], [mean for _, mean in keys])


def test_the_consensus_of_one_circuit_is_that_circuit() -> None:
    (circuit,) = some_circuits(1, 20, 0)
    np.testing.assert_array_equal(consensus([circuit]).order, circuit.order)
    assert np.isnan(mean_ranks([circuit])[~circuit.members]).all()


def test_no_circuit_a_wrong_share_and_other_graphs_raise_errors() -> None:
    circuits = some_circuits(2, 9, 0)
    for some, share in (([], 1.0), (circuits, 0.0), (circuits, 1.1)):
        with pytest.raises(InputError, match="consensus: expected circuits and a share"):
            consensus(some, share)
    other = EdgeScores(ComputationGraph(1, 1), np.arange(8.0)).top(3)
    with pytest.raises(NotComparable):
        consensus([circuits[0], other])


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_p_value_is_that_of_all_groups(n: int) -> None:
    members = np.random.default_rng(n).random((5, 12)) < 0.5
    group = np.arange(5) < n
    ratio, p = enrichment(members, group)
    every = np.array([members[list(chosen)].sum(axis=0) for chosen in combinations(range(5), n)])
    np.testing.assert_allclose(p, (every >= members[group].sum(axis=0)).mean(axis=0))
    shares = [(members[g].sum(axis=0) + 0.5) / (g.sum() + 1) for g in (group, ~group)]
    np.testing.assert_allclose(ratio, np.log2(shares[0] / shares[1]))


@pytest.mark.parametrize("group", [[False, False], [True, True]])
def test_a_group_of_none_or_all_raises_an_error(group: list[bool]) -> None:
    with pytest.raises(InputError, match="in the group and outside it"):
        enrichment(np.ones((2, 3), bool), np.array(group))


def test_usage_counts_the_ends_of_edges() -> None:
    (circuit,) = some_circuits(1, 20, 1)
    usage = component_usage(circuit)
    for name, share in zip(GRAPH.node_names, usage, strict=True):
        ends = [edge for edge in circuit.edges for end in edge.split("->") if end.split("<")[0] == name]
        assert share == pytest.approx(len(ends) / (2 * circuit.n_edges))
    assert component_usage(Circuit(GRAPH, np.zeros(GRAPH.n_edges, bool))).sum() == 0
