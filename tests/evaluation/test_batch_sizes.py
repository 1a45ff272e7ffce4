"""Figures of circuits do not depend on the batch size; means over images equal those of single images."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import EdgeScores, random_circuit
from circuitstore.evaluation import (
    Execution,
    ImagePairs,
    completeness,
    faithfulness_curve,
    hypothesis_tests,
    magnitude_scores,
    minimality,
    outcomes,
    random_curves,
)

from ..reference import logits_of

BATCHES = [(1, 4), (3, 2), (5, 4), (5, 3), (5, None)]
"""Numbers of images and batch sizes: one image, one image left over, others."""


@pytest.fixture(scope="module")
def asked(toy_vit, images):
    """A toy model, five pairs of similar images of the class that the clean image raises most, and a circuit."""
    model = toy_vit(depth=2, num_heads=2, embed_dim=8)
    x, y = (images(model, 1, seed).repeat(5, 1, 1, 1) + 0.01 * images(model, 5, seed + 9) for seed in (1, 2))
    labels = (model.logits(x) - model.logits(y)).argmax(1)
    return model, ImagePairs.of(model, x, y, labels), random_circuit(model.graph("split"), 20, seed=0)


def by_completeness(model, pairs, circuit, execution):
    found = completeness(model, pairs, circuit, draws=2, steps=0, execution=execution)
    return np.stack([found.of_circuit, found.of_model])


def by_minimality(model, pairs, circuit, execution):
    return minimality(model, pairs, circuit, draws=1, execution=execution).effects


def by_magnitude(model, pairs, _, execution):
    return magnitude_scores(model, pairs, execution=execution).mean


@pytest.mark.parametrize("mean", [by_completeness, by_minimality, by_magnitude])
def test_means_equal_those_of_single_images(asked, mean):
    model, pairs, circuit = asked
    expected = np.stack([mean(model, one, circuit, Execution(batch_size=1)) for one in pairs.batches(1)])
    subtracted = np.abs(logits_of(model, pairs.clean, pairs.corrupted)).max()
    for n, size in BATCHES:
        found = mean(model, pairs[:n], circuit, Execution(batch_size=size))
        assert found == pytest.approx(expected[:n].mean(axis=0), rel=0, abs=1e-12 * subtracted)
    assert np.abs(expected).max() > 1e-6 * subtracted


@pytest.mark.parametrize("n", [1, 3, 5])
def test_greedily_removed_edges_do_not_depend_on_batches(asked, n):
    model, pairs, circuit = asked
    options = {"draws": 1, "steps": 2, "candidates": 3}
    whole, *parts = (
        completeness(model, pairs[:n], circuit, **options, execution=Execution(batch_size=size))
        for size in (5, 1, 2, 4)
    )
    for found in parts:
        assert np.array_equal(found.removed, whole.removed)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_verdicts_do_not_depend_on_batches(asked, n):
    model, pairs, circuit = asked
    whole, *parts = (
        hypothesis_tests(model, pairs[:n], circuit, draws=8, execution=Execution(batch_size=size))
        for size in (5, 1, 2, 4)
    )
    for found in parts:
        assert found.to_pandas().equals(whole.to_pandas()) and found.notes == whole.notes
        assert np.array_equal(found.edge_p_values, whole.edge_p_values)


def test_curves_are_ratios_of_means_over_single_images(asked):
    model, pairs, circuit = asked
    scores = EdgeScores(circuit.graph, np.random.default_rng(0).normal(size=circuit.graph.n_edges))
    circuits, sizes = [scores.greedy(10), scores.greedy(30)], [10, 30]
    each = [[run.metric.item() for run in outcomes(model, one, circuits)] for one in pairs.batches(1)]
    for n, size in BATCHES:
        part, execution = pairs[:n], Execution(batch_size=size)
        curve = faithfulness_curve(model, part, scores, sizes=sizes, execution=execution)
        chance = random_curves(model, part, sizes=sizes, draws=1, execution=execution)
        again = random_curves(model, part, sizes=sizes, draws=1, execution=Execution(batch_size=1))
        assert chance.curves[0].faithfulness == pytest.approx(again.curves[0].faithfulness, rel=1e-9, nan_ok=True)
        if n == 1:  # no standard error, hence no ratio
            assert np.isnan(curve.faithfulness).all()
            continue
        ran = np.mean(each[:n], axis=0)
        assert curve.faithfulness == pytest.approx((ran[2:] - ran[1]) / (ran[0] - ran[1]), rel=1e-9)
