"""Every function that takes image pairs refuses integers and pairs that contrast nothing, and warns of odd pixels."""

from __future__ import annotations

from dataclasses import replace
from inspect import unwrap

import pytest
import torch
from circuitstore.analysis import baselines, circuit_tests, completeness, curves
from circuitstore.circuits import EdgeScores, random_circuit
from circuitstore.discovery import (
    Images,
    bisected,
    discover,
    evaluate,
    evaluate_many,
    head_to_head,
    outcomes,
    patch_edges,
    patch_nodes,
    patch_path,
    score_edges,
    smallest_with_retention,
)
from circuitstore.errors import CircuitStoreWarning, InputError


@pytest.fixture(scope="module")
def model(toy_vit):
    return toy_vit(depth=2)


LABELS = [0, 1, 2]
GOOD = torch.linspace(-1, 1, 3 * 3 * 8 * 8, dtype=torch.float64).reshape(3, 3, 8, 8)
ALL = {
    "score_edges": lambda m, x, y, c, s: score_edges(m, x, y, LABELS, method="eap"),
    "discover": lambda m, x, y, c, s: discover(m, x, y, LABELS, method="flow-routes"),
    "discover, selection": lambda m, x, y, c, s: discover(
        m, GOOD, -GOOD, LABELS, method="vi-cd", form="attention", threshold=0.1, selection=Images(x, y, LABELS)
    ),
    "evaluate": lambda m, x, y, c, s: evaluate(m, c, x, y, LABELS),
    "evaluate_many": lambda m, x, y, c, s: evaluate_many(m, [c], x, y, LABELS),
    "outcomes": lambda m, x, y, c, s: outcomes(m, [c], x, y, LABELS),
    "patch_edges": lambda m, x, y, c, s: patch_edges(m, x, y, LABELS, ["m0->logits"]),
    "patch_nodes": lambda m, x, y, c, s: patch_nodes(m, x, y, LABELS),
    "patch_path": lambda m, x, y, c, s: patch_path(m, ["m0", "logits"], x, y, LABELS),
    "head_to_head": lambda m, x, y, c, s: head_to_head(m, 0, 1, x, y, LABELS),
    "smallest_with_retention": lambda m, x, y, c, s: smallest_with_retention(m, s, x, y, LABELS, target=0.5),
    "bisected": lambda m, x, y, c, s: bisected(m, s, x, y, LABELS, target=0.5),
    "faithfulness_curve": lambda m, x, y, c, s: curves.faithfulness_curve(m, s, x, y, LABELS, sizes=[3]),
    "random_curves": lambda m, x, y, c, s: baselines.random_curves(m, x, y, LABELS, sizes=[3], draws=1),
    "magnitude_scores": lambda m, x, y, c, s: baselines.magnitude_scores(m, x, y),
    "completeness": lambda m, x, y, c, s: completeness.completeness(m, c, x, y, LABELS, draws=0, steps=0),
    "minimality": lambda m, x, y, c, s: completeness.minimality(m, c, x, y, LABELS, draws=0),
    "hypothesis_tests": lambda m, x, y, c, s: circuit_tests.hypothesis_tests(m, c, x, y, LABELS, draws=1),
}
"""Each called with a model, clean and corrupted images, a circuit and scores."""


@pytest.fixture(params=ALL)
def ask(request, model):
    graph = model.graph("split")
    circuit = random_circuit(graph, 9, seed=0)
    scores = EdgeScores(graph, torch.arange(graph.n_edges).double().numpy())
    return lambda x, y: unwrap(ALL[request.param])(model, x, y, circuit, scores)


def test_integers_are_refused(ask, model, images):
    x, y = images(model, 3, 1), images(model, 3, 2)
    for dtype in (torch.uint8, torch.int64):
        with pytest.raises(InputError, match="expected normalised pixels in floating point, got torch"):
            ask((x * 40 + 128).to(dtype), y)
        with pytest.raises(InputError, match="expected normalised pixels in floating point, got torch"):
            ask(x, (y * 40 + 128).to(dtype))


def test_pairs_that_are_all_equal_are_refused_and_some_are_told(ask, model, images):
    x, y = images(model, 3, 1), images(model, 3, 2)
    with pytest.raises(InputError, match="every image equals its clean one"):
        ask(x, x.clone())
    some = y.clone()
    some[1] = x[1]
    with pytest.warns(CircuitStoreWarning, match=r"1 of 3 images equal their clean ones: 1 \(counted from 0\)"):
        ask(x, some)


@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
def test_pixels_that_are_far_from_normalised_are_told(ask, model, images):
    x, y = images(model, 3, 1), images(model, 3, 2)
    with pytest.warns(CircuitStoreWarning, match=r"clean: pixels up to .* lie within 20"):
        ask(50 * x, y)
    with pytest.warns(CircuitStoreWarning, match=r"corrupted: pixels up to .* lie within 20"):
        ask(x, 50 * y)


def test_what_is_far_follows_from_the_model_s_own_normalisation(model):
    wide = replace(model, preprocess=replace(model.preprocess, mean=(0.5,) * 3, std=(1 / 255,) * 3))
    score_edges(wide, 127 * GOOD, -127 * GOOD, LABELS, method="eap")
    with pytest.warns(CircuitStoreWarning, match=r"corrupted: pixels up to 129 .* lie within 127\.5"):
        score_edges(wide, 127 * GOOD, 129 * GOOD, LABELS, method="eap")
