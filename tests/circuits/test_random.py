"""Random connected circuits."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import FORMS, ComputationGraph, random_circuit
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

graphs = st.builds(ComputationGraph, st.integers(1, 4), st.integers(1, 4), st.sampled_from(FORMS))


@given(graphs, st.data(), st.integers(0, 99))
def test_random_circuits_are_connected_and_of_the_size_asked(
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
def test_every_edge_has_its_chance(form: str) -> None:
    graph = ComputationGraph(2, 2, form)
    drawn = sum(random_circuit(graph, graph.n_edges // 3, seed=s).members.astype(int) for s in range(200))
    assert (np.asarray(drawn) > 0).all()


def test_other_seeds_give_other_circuits() -> None:
    graph = ComputationGraph(4, 4)
    assert len({random_circuit(graph, 40, seed=s).edges for s in range(10)}) == 10


@pytest.mark.parametrize("n", [0, 9])
def test_impossible_sizes_are_refused(n: int) -> None:
    with pytest.raises(InputError, match="random circuit"):
        random_circuit(ComputationGraph(1, 1), n, seed=0)
