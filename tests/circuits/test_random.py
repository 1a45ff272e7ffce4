"""Random connected circuits."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import FORMS, ComputationGraph, RandomPaths, random_circuit, uniform_circuit
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

graphs = st.builds(ComputationGraph, st.integers(1, 4), st.integers(1, 4), st.sampled_from(FORMS))


@given(graphs, st.data(), st.integers(0, 99))
def test_random_circuits_are_connected_and_have_the_requested_size(
    graph: ComputationGraph, data: st.DataObject, seed: int
) -> None:
    n = data.draw(st.integers(1, graph.n_edges))
    circuit = random_circuit(graph, n, seed=seed)
    assert (graph.prune(circuit.members) == circuit.members).all()
    assert 1 <= circuit.n_edges <= n
    assert n - circuit.n_edges <= 1
    again = random_circuit(graph, n, seed=seed)
    assert (again.members == circuit.members).all()


@pytest.mark.parametrize("form", FORMS)
def test_every_edge_can_be_drawn(form: str) -> None:
    graph = ComputationGraph(2, 2, form)
    drawn = sum(random_circuit(graph, graph.n_edges // 3, seed=s).members.astype(int) for s in range(200))
    assert (np.asarray(drawn) > 0).all()


def test_other_seeds_give_other_circuits() -> None:
    graph = ComputationGraph(4, 4)
    assert len({random_circuit(graph, 40, seed=s).edges for s in range(10)}) == 10


@pytest.mark.parametrize("n", [0, 9])
def test_impossible_sizes_raise(n: int) -> None:
    with pytest.raises(InputError, match="random circuit"):
        random_circuit(ComputationGraph(1, 1), n, seed=0)


@given(graphs, st.data(), st.integers(0, 99))
def test_a_path_goes_from_input_to_logits_through_its_edge(
    graph: ComputationGraph, data: st.DataObject, seed: int
) -> None:
    edge = data.draw(st.integers(0, graph.n_edges - 1))
    path = RandomPaths(graph, np.random.default_rng(seed)).through(edge)
    members = np.zeros(graph.n_edges, bool)
    members[path] = True
    assert path[0] == edge and len(set(path)) == len(path)
    assert (graph.prune(members) == members).all()
    ends = [graph.edge(e) for e in path]
    assert sum(e.sender == "input" for e in ends) == sum(e.receiver == "logits" for e in ends) == 1


def test_uniform_circuits_are_uniform_edge_sets_after_pruning() -> None:
    graph = ComputationGraph(3, 4)
    circuits = [uniform_circuit(graph, 60, seed=s) for s in range(20)]
    assert all((graph.prune(c.members) == c.members).all() and c.size_requested == 60 for c in circuits)
    assert np.mean([c.n_edges for c in circuits]) < 50
    assert uniform_circuit(graph, 60, seed=3).edges == circuits[3].edges
    assert uniform_circuit(graph, graph.n_edges, seed=0).n_edges == graph.n_edges
    with pytest.raises(InputError, match="uniform circuit"):
        uniform_circuit(graph, -1, seed=0)
