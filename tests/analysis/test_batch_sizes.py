"""No figure about a circuit depends on how its images are batched; a mean over images is that of each by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.analysis.baselines import magnitude_scores, random_curves
from circuitstore.analysis.circuit_tests import hypothesis_tests
from circuitstore.analysis.completeness import completeness, minimality
from circuitstore.analysis.curves import faithfulness_curve
from circuitstore.circuits import EdgeScores, random_circuit
from circuitstore.discovery import outcomes

BATCHES = [(1, 4), (3, 2), (5, 4), (5, 3), (5, None)]
"""Numbers of images and batch sizes: one image, one image left over, others."""


@pytest.fixture(scope="module")
def asked(toy_vit, images):
    """A toy model, a circuit of it, and five pairs near each other, of the class that the clean image raises most."""
    model = toy_vit(depth=2, num_heads=2, embed_dim=8)
    x, y = (images(model, 1, seed).repeat(5, 1, 1, 1) + 0.01 * images(model, 5, seed + 9) for seed in (1, 2))
    labels = (model.logits(x) - model.logits(y)).argmax(1)
    return model, random_circuit(model.graph("split"), 20, seed=0), (x, y, labels)


def first(data, n):
    return tuple(part[:n] for part in data)


def each(answer, data):
    """The answers for every image pair by itself."""
    return np.stack([answer(*(part[i : i + 1] for part in data), batch_size=1) for i in range(len(data[0]))])


MEANS = {
    "completeness": lambda model, circuit, *data, **options: np.stack(
        [(found := completeness(model, circuit, *data, draws=2, steps=0, **options)).of_circuit, found.of_model]
    ),
    "minimality": lambda model, circuit, *data, **options: (
        minimality(model, circuit, *data, draws=1, **options).effects
    ),
    "magnitude_scores": lambda model, _, x, y, labels, **options: magnitude_scores(model, x, y, **options).mean,
}


@pytest.mark.parametrize("name", MEANS)
def test_means_are_those_of_each_image_by_itself(asked, name):
    model, circuit, data = asked

    def measured(*data, batch_size):
        return MEANS[name](model, circuit, *data, batch_size=batch_size)

    expected, subtracted = each(measured, data), model.logits(torch.cat(data[:2])).abs().max().item()
    for n, size in BATCHES:
        found = measured(*first(data, n), batch_size=size)
        assert found == pytest.approx(expected[:n].mean(axis=0), rel=0, abs=1e-12 * subtracted)
    assert np.abs(expected).max() > 1e-6 * subtracted


@pytest.mark.parametrize("n", [1, 3, 5])
def test_edges_that_are_taken_away_greedily_do_not_depend_on_batches(asked, n):
    model, circuit, data = asked
    whole, *parts = (
        completeness(model, circuit, *first(data, n), draws=1, steps=2, candidates=3, batch_size=size)
        for size in (5, 1, 2, 4)
    )
    for found in parts:
        assert np.array_equal(found.removed, whole.removed)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_verdicts_do_not_depend_on_batches(asked, n):
    model, circuit, data = asked
    options = {"draws": 8, "permutations": 20}
    whole, *parts = (
        hypothesis_tests(model, circuit, *first(data, n), batch_size=size, **options) for size in (5, 1, 2, 4)
    )
    for found in parts:
        assert found.to_pandas().equals(whole.to_pandas()) and found.notes == whole.notes
        assert np.array_equal(found.edge_p_values, whole.edge_p_values)


def test_curves_are_ratios_of_what_each_image_gives(asked):
    model, circuit, data = asked
    scores = EdgeScores(circuit.graph, np.random.default_rng(0).normal(size=circuit.graph.n_edges))
    for n, size in BATCHES:
        part = first(data, n)
        curve = faithfulness_curve(model, scores, *part, sizes=[10, 30], batch_size=size)
        chance = random_curves(model, *part, sizes=[10, 30], draws=1, batch_size=size)
        again = random_curves(model, *part, sizes=[10, 30], draws=1, batch_size=1)
        assert chance.curves[0].faithfulness == pytest.approx(again.curves[0].faithfulness, rel=1e-9, nan_ok=True)
        if n == 1:  # no standard error, hence no ratio
            assert np.isnan(curve.faithfulness).all()
            continue
        ran = each(
            lambda *one, batch_size: [
                o.metric.item() for o in outcomes(model, [scores.greedy(10), scores.greedy(30)], *one, batch_size=1)
            ],
            part,
        ).mean(axis=0)
        assert curve.faithfulness == pytest.approx((ran[2:] - ran[1]) / (ran[0] - ran[1]), rel=1e-9)
