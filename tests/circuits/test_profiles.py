"""Profiles of circuits by kind and layer, and by kind and depth, over graphs of the same and of different sizes."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from circuitstore.circuits import (
    Circuit,
    ComputationGraph,
    depth_profile,
    expected_profile_overlap,
    profile_matrix,
    profile_overlap,
    quarters,
    random_circuit,
    usage_profile,
)
from hypothesis import given
from hypothesis import strategies as st

GRAPHS = st.builds(ComputationGraph, st.integers(1, 5), st.integers(1, 3), st.sampled_from(["split", "head", "block"]))


def some_circuit(graph: ComputationGraph, seed: int, n: int = 9) -> Circuit:
    return random_circuit(graph, min(n, graph.n_edges), seed=seed)


def empty(graph: ComputationGraph) -> Circuit:
    return Circuit(graph, np.zeros(graph.n_edges, bool))


@given(GRAPHS, st.integers(0, 99))
def test_every_edge_and_node_is_counted_once(graph: ComputationGraph, seed: int) -> None:
    circuit = some_circuit(graph, seed)
    frame = usage_profile(circuit).to_pandas()
    universe, nodes = circuit.universe, {c.name: c for c in circuit.universe.components}
    for role, kept, possible in (
        ("sender", circuit.n_edges, universe.n_edges),
        ("receiver", circuit.n_edges, universe.n_edges),
        ("node", circuit.n_nodes, len(nodes)),
    ):
        own = frame.loc[frame["role"] == role]
        assert (own["kept"].sum(), own["possible"].sum()) == (kept, possible)
        assert own["share"].sum() == pytest.approx(1)
    assert not frame.duplicated(["role", "kind", "layer"]).any()
    for row in frame[frame["role"] == "receiver"].to_dict("records"):
        ends = [nodes[universe.edge(universe.edge_index[name]).receiver] for name in circuit.edges]
        here = [c for c in ends if c.kind == row["kind"] and (c.layer == row["layer"] if c.layer is not None else True)]
        assert len(here) == row["kept"]


def test_an_empty_circuit_has_a_profile_without_shares() -> None:
    frame = usage_profile(empty(ComputationGraph(1, 1, "block"))).frame
    assert frame["share"].sum() == frame["kept"].sum() == 0 and frame["possible"].sum() > 0


@given(GRAPHS, st.integers(0, 99))
def test_the_shares_are_those_of_the_ends_of_the_edges(graph: ComputationGraph, seed: int) -> None:
    circuit = some_circuit(graph, seed)
    counted: dict[str, int] = defaultdict(int)
    for name in circuit.edges:
        edge = graph.edge(graph.edge_index[name])
        for end in (edge.sender, edge.receiver):
            counted[graph.components[graph.node_index[end]].kind] += 1
    profile = depth_profile(circuit)
    assert {kind: shares.sum() for kind, shares in profile.items() if shares.any()} == pytest.approx(
        {kind: count / (2 * circuit.n_edges) for kind, count in counted.items()}
    )


@given(GRAPHS)
def test_each_component_is_in_the_quarters_in_whole(graph: ComputationGraph) -> None:
    where = quarters(graph)
    assert where.sum(axis=1) == pytest.approx(np.ones(len(graph.components)))
    for component, row in zip(graph.components, where, strict=True):
        if component.layer is None:
            assert row.tolist() == [0.25] * 4
        else:
            middle = (component.layer + 0.5) / graph.n_layers
            assert row @ (np.arange(4) + 0.5) / 4 == pytest.approx(middle, abs=0.13)


def test_layers_that_lie_in_two_quarters_count_in_both() -> None:
    graph = ComputationGraph(3, 1)
    where = quarters(graph)[[graph.node_index[f"m{layer}"] for layer in range(3)]]
    assert where == pytest.approx(np.array([[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.25, 0.75]]))


@given(GRAPHS, GRAPHS, st.integers(0, 99))
def test_the_overlap_is_symmetric_and_1_only_for_equal_profiles(
    a: ComputationGraph, b: ComputationGraph, seed: int
) -> None:
    first, second = some_circuit(a, seed), some_circuit(b, seed + 1)
    found = profile_overlap(first, second)
    assert 0 <= found <= 1 and found == profile_overlap(second, first)
    assert profile_overlap(first, first) == 1
    assert profile_overlap(first, empty(b)) == 0 and profile_overlap(empty(a), empty(b)) == 1


def test_a_model_with_every_layer_doubled_has_the_same_profile() -> None:
    small, large = ComputationGraph(4, 2), ComputationGraph(8, 2)
    one = Circuit.from_edges(small, ["input->m1", "m1->logits"])
    both = Circuit.from_edges(large, ["input->m2", "m2->logits", "input->m3", "m3->logits"])
    assert profile_overlap(one, both) == 1
    elsewhere = Circuit.from_edges(large, ["input->m6", "m6->logits"])
    assert profile_overlap(one, elsewhere) == pytest.approx(0.5)  # input and logits are common, the MLPs are not


@given(GRAPHS, st.integers(0, 99))
def test_the_matrix_has_the_overlaps_of_all_pairs(graph: ComputationGraph, seed: int) -> None:
    circuits = [some_circuit(graph, seed), some_circuit(graph, seed + 1, 3), empty(graph)]
    found = profile_matrix(graph, np.stack([c.members for c in circuits]))
    assert found == pytest.approx(np.array([[profile_overlap(a, b) for b in circuits] for a in circuits]))


def test_the_expected_overlap_is_that_of_random_circuits() -> None:
    small, large = ComputationGraph(3, 2), ComputationGraph(6, 4)
    first, second = some_circuit(small, 0, 20), some_circuit(large, 1, 40)
    found = expected_profile_overlap(first, second)
    draws = [profile_overlap(some_circuit(small, 1000 + i, 20), some_circuit(large, 2000 + i, 40)) for i in range(30)]
    assert found == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / math.sqrt(10))
    assert math.isnan(expected_profile_overlap(first, empty(large)))
