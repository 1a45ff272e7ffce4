"""Evaluation of circuits: equal to brute force, and null if a ratio is undefined."""

from functools import partial

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, Circuit, ComputationGraph, greedy, size_grid
from circuitstore.discovery import score_edges, smallest_with_retention
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs, evaluate, evaluate_many
from circuitstore.evaluation.evaluate import undefined_reason

from ..reference import logits_of


@pytest.fixture(scope="module")
def asked(contrast):
    """The model of `contrast`, and its images as pairs."""
    model, x, y, labels = contrast
    return model, ImagePairs.of(model, x, y, labels)


def swapped(model, pairs):
    return ImagePairs.of(model, pairs.corrupted, pairs.clean, pairs.labels)


def whole(graph):
    return Circuit(graph, np.ones(graph.n_edges, bool))


def empty(graph):
    return Circuit(graph, np.zeros(graph.n_edges, bool))


@pytest.mark.parametrize("form", FORMS)
def test_metrics_and_accuracies_equal_brute_force(toy_vit, images, brute_force, form):
    model = toy_vit()
    graph = model.graph(form)
    x, y, labels = images(model, 5, 1), images(model, 5, 2), torch.tensor([0, 1, 2, 3, 4])
    rng = np.random.default_rng(0)
    circuits = [Circuit(graph, rng.random(graph.n_edges) < density) for density in (0.2, 0.6, 0.9)]
    brute = brute_force(model.module, graph)
    near = partial(pytest.approx, rel=0, abs=1e-12 * np.abs(logits_of(model, x, y)).max())
    evaluations = evaluate_many(model, ImagePairs.of(model, x, y, labels), circuits, execution=Execution(batch_size=2))
    for circuit, found in zip(circuits, evaluations, strict=True):
        logits = brute.masked(model.embed(x), model.embed(y), circuit.members)
        assert found.metric_circuit == near(logits[range(5), labels].mean().item())
        assert found.accuracy_circuit == (logits.argmax(1) == labels).double().mean().item()
        assert found.metric_full == near(model.logits(x)[range(5), labels].mean().item())
        assert found.metric_empty == near(model.logits(y)[range(5), labels].mean().item())
        assert found.n == 5


def test_whole_graph_is_faithful_and_the_empty_one_is_not(asked):
    model, pairs = asked
    graph = model.graph("split")
    full, none = evaluate_many(model, pairs, [whole(graph), empty(graph)])
    size = np.abs(logits_of(model, pairs.clean, pairs.corrupted)).max()
    rounding = 1e-12 * size / (full.metric_full - full.metric_empty)
    assert full.faithfulness == pytest.approx(1, rel=0, abs=rounding) and none.faithfulness == 0
    assert (full.retention, none.retention) == (1, 0)
    assert (full.accuracy_circuit, none.accuracy_circuit) == (full.accuracy_full, full.accuracy_empty) == (1, 0)
    assert not full.reasons


def test_accuracy_is_about_the_class_that_the_metric_raises(contrast):
    model, x, y, labels = contrast
    others = (labels + 1) % 5
    pairs = ImagePairs.of(model, x, y, others, targets=labels)
    found = evaluate(model, pairs, whole(model.graph("block")), metric="logit-diff")
    assert found.accuracy_full == 1
    logits = model.logits(x)
    rows = range(len(x))
    expected = (logits[rows, labels] - logits[rows, others]).mean().item()
    assert found.metric_full == pytest.approx(expected, rel=0, abs=1e-12 * logits.abs().max().item())


def test_swapped_images_make_faithfulness_undefined_with_a_reason(asked):
    model, pairs = asked
    found = evaluate(model, swapped(model, pairs), whole(model.graph("block")))
    assert found.faithfulness is None and found.retention is None
    assert set(found.reasons) == {"faithfulness", "retention"}
    assert "not above" in found.reasons["faithfulness"]


def test_the_gap_must_exceed_three_standard_errors():
    assert undefined_reason(torch.tensor([1.0, 1.0, 1.0])) is None
    assert "one image" in undefined_reason(torch.tensor([1.0]))
    assert "not above" in undefined_reason(torch.tensor([0.0, 0.0]))
    # mean 1, n = 4: the standard deviation may be up to 2/3
    spread = torch.tensor([-1.0, -1.0, 1.0, 1.0]) / torch.tensor([-1.0, -1.0, 1.0, 1.0]).std()
    assert undefined_reason(1 + 0.66 * spread) is None
    assert "under 3 standard errors" in undefined_reason(1 + 0.67 * spread)


def test_a_circuit_of_another_model_raises(toy_vit, images):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [0, 1])
    with pytest.raises(InputError, match="2 layers of 4 heads, but VisionTransformer has 3 layers of 4"):
        evaluate(model, pairs, whole(ComputationGraph(2, 4, "split")))


def test_the_smallest_size_that_keeps_the_accuracy(asked):
    model, pairs = asked
    scores = score_edges(model, pairs, form="attention", steps=20)
    found = smallest_with_retention(model, pairs, scores, target=0.5)
    assert evaluate(model, pairs, found).retention >= 0.5
    assert found.extraction == "retention(target=0.5)"
    smaller = [n for n in size_grid(scores.graph.n_edges) if n < found.size_requested]
    circuits = [greedy(scores, n) for n in smaller]
    assert all(e.retention < 0.5 for e in evaluate_many(model, pairs, circuits))
    assert np.array_equal(found.members, greedy(scores, found.size_requested).members)


def test_without_a_gap_all_edges_are_kept_with_the_reason(asked):
    model, pairs = asked
    scores = score_edges(model, pairs, "eap", form="block")
    found = smallest_with_retention(model, swapped(model, pairs), scores, target=0.9)
    assert found.n_edges == scores.graph.n_edges
    assert "all edges: the full model is not above" in found.extraction
    with pytest.raises(InputError, match="share"):
        smallest_with_retention(model, pairs, scores, target=1.5)
