"""Measures: matrices agree with pairs, and chance levels with enumeration."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from circuitstore.circuits import greedy
from circuitstore.errors import InputError
from circuitstore.query.measures import MEASURES, Circuits, Sample, get_measure
from circuitstore.testing.factories import make_discovery, make_item


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Circuits of several sizes with the scores of all edges, one of them without edges."""
    found = []
    for index, n in enumerate((1, 9, 24, 24, 60)):
        scores = make_discovery(item=make_item(class_index=index, n_layers=3, n_heads=2)).scores
        assert scores is not None
        found.append(Sample(greedy(scores, n), scores))
    first = found[0].circuit
    none = replace(first, members=np.zeros_like(first.members), order=np.empty(0, int))
    return [*found, replace(found[0], circuit=none)]


def stacked(samples: list[Sample]) -> Circuits:
    circuits = [sample.circuit for sample in samples]
    sizes = [c.n_edges if c.size_requested is None else c.size_requested for c in circuits]
    scores = np.stack([sample.scores.mean for sample in samples if sample.scores is not None])
    return Circuits(circuits[0].graph, np.stack([c.members for c in circuits]), sizes, scores)


@pytest.mark.parametrize("key", MEASURES)
def test_the_matrix_agrees_with_the_pairs(key: str, samples: list[Sample]) -> None:
    measure = get_measure(key)
    square = measure.matrix(stacked(samples))
    assert np.allclose(square, square.T, atol=1e-12)
    assert np.allclose(np.diag(square), 1)
    for i, j in combinations(range(len(samples)), 2):
        assert square[i, j] == pytest.approx(measure.pair(samples[i], samples[j]), abs=1e-6)


@pytest.mark.parametrize("key", MEASURES)
def test_chance_levels_are_those_of_the_sizes_that_are_compared(key: str, samples: list[Sample]) -> None:
    """The sizes are actual ones, or requested ones if the best edges are compared before pruning."""
    measure, circuits = get_measure(key), stacked(samples)
    levels = measure.chance_levels(circuits)
    assert levels.shape == (len(samples), len(samples))
    if measure.chance is None:
        assert np.isnan(levels).all()
        return
    sizes = circuits.sizes if key == "overlap" else [sample.circuit.n_edges for sample in samples]
    for (i, a), (j, b) in combinations_with_replacement(enumerate(sizes), 2):
        assert levels[i, j] == levels[j, i] == pytest.approx(measure.chance(a, b, circuits.universe.n_edges))


@pytest.mark.parametrize("key", ["jaccard", "dice", "overlap"])
@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 2), (3, 4), (0, 2), (0, 0), (5, 5)])
def test_chance_is_the_mean_over_all_sets_of_these_sizes(key: str, a: int, b: int) -> None:
    edges = range(5)
    values = []
    for x in combinations(edges, a):
        for y in combinations(edges, b):
            common, size = len({*x} & {*y}), min(a, b)
            values.append(
                {
                    "jaccard": common / len({*x, *y}) if a + b else 1.0,
                    "dice": 2 * common / (a + b) if a + b else 1.0,
                    # among the first edges of the smaller size; those of the larger set are equally random
                    "overlap": None if a != b else (common / size if size else 0.0),
                }[key]
            )
    if values[0] is not None:
        chance = get_measure(key).chance
        assert chance is not None
        assert chance(a, b, len(edges)) == pytest.approx(np.mean(values))


def test_an_unknown_measure_raises_an_error() -> None:
    with pytest.raises(InputError, match="did you mean 'jaccard'"):
        get_measure("jacard")
