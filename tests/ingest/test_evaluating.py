"""Random circuits that the evaluations of a run have in common."""

import numpy as np
import pytest
from circuitstore.circuits import ComputationGraph, random_circuit
from circuitstore.errors import InputError
from circuitstore.ingest.evaluating import RANDOM_CIRCUITS, random_circuits
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(1, 30), st.integers(0, 5))
def test_they_are_those_of_consecutive_seeds(n, seed):
    graph = ComputationGraph(2, 2)
    found = random_circuits(graph, n, seed)
    assert len(found) == RANDOM_CIRCUITS
    for circuit, expected in zip(found, (random_circuit(graph, n, seed=seed + i) for i in range(10)), strict=True):
        assert np.array_equal(circuit.order, expected.order)
        assert circuit.extraction == expected.extraction


def test_they_are_drawn_once_for_equal_universes():
    first = random_circuits(ComputationGraph(2, 3), 20, 0)
    assert random_circuits(ComputationGraph(2, 3), 20, 0) is first
    others = (ComputationGraph(2, 3, "head"), 20, 0), (ComputationGraph(2, 3), 21, 0), (ComputationGraph(2, 3), 20, 1)
    assert all(random_circuits(*other) is not first for other in others)


def test_a_size_that_is_impossible_raises():
    with pytest.raises(InputError, match="random circuit"):
        random_circuits(ComputationGraph(1, 1), 0, 0)
