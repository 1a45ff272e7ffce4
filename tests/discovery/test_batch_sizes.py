"""Answers do not depend on the batch size; a mean over images equals that of images answered one at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, random_circuit
from circuitstore.discovery import METHODS, discover, score_edges, smallest_by_bisection, smallest_with_retention
from circuitstore.evaluation import (
    METRICS,
    Execution,
    ImagePairs,
    evaluate,
    evaluate_many,
    head_to_head,
    patch_edges,
    patch_nodes,
    patch_path,
)

from ..reference import VARIANTS, logits_of, relative

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")

BATCHES = [(1, 4), (3, 2), (5, 3), (5, None)]
"""Numbers of images and batch sizes: one image in a batch that has room for more, one image left over, others."""
WHOLE = 5
LEARNED = ("ugs", "edge-pruning", "iterative-pruning", "iterative-expansion")
"""Methods that give one answer for all images together."""
ASKED = [
    (key, form, direction)
    for key, method in METHODS.items()
    for form in method.forms
    for direction in method.directions
]


@pytest.fixture(scope="module")
def model(toy_vit):
    return toy_vit(depth=2, num_heads=2, embed_dim=8)


@pytest.fixture(scope="module")
def pairs(model, images):
    labels = torch.arange(WHOLE)
    return ImagePairs.of(model, images(model, WHOLE, 1), images(model, WHOLE, 2), labels, targets=(labels + 1) % 5)


def each(answer, pairs):
    """The answers for every image pair by itself."""
    return np.stack([answer(pair, 1) for pair in pairs.batches(1)])


def asked(method):
    """Few steps; for methods that remove edges, a threshold at which none is removed."""
    few = {"steps": 2, "fraction": 0.4, "threshold": -1.0, "absolute": True}
    return METHODS.resolve(method, {name: value for name, value in few.items() if name in METHODS[method].params})


@pytest.mark.parametrize(("method", "form", "direction"), [a for a in ASKED if a[0] not in LEARNED])
def test_scores_equal_those_of_single_images(model, pairs, method, form, direction):
    def scores(some, size):
        execution = Execution(batch_size=size)
        return discover(model, some, asked(method), form=form, direction=direction, execution=execution).scores

    expected = each(lambda pair, size: scores(pair, size).per_image[0], pairs)
    for n, size in BATCHES:
        found = scores(pairs[:n], size)
        assert relative(found.per_image, expected[:n], of=expected) < 1e-11
        assert relative(found.mean, expected[:n].mean(axis=0), of=expected) < 1e-11


@pytest.mark.parametrize(("method", "form"), [a[:2] for a in ASKED if a[0] in LEARNED])
def test_learned_orders_do_not_depend_on_batches(model, pairs, method, form):
    for n in (1, 3, 5):
        whole, *parts = (
            discover(model, pairs[:n], asked(method), form=form, execution=Execution(batch_size=size))
            for size in (5, 1, 2, 4)
        )
        for found in parts:
            assert relative(found.scores.mean, whole.scores.mean) < 1e-9


@pytest.mark.parametrize("method", ["acdc", "vi-cd"])
def test_decisions_do_not_depend_on_batches(model, pairs, method):
    gap = float((model.logits(pairs.clean) - model.logits(pairs.corrupted))[range(WHOLE), pairs.labels].mean())
    use = METHODS.resolve(method, {"threshold": 0.05 * abs(gap)})
    whole, *parts = (
        discover(model, pairs, use, form="attention", execution=Execution(batch_size=size))
        for size in (5, 1, 2, 3, 4, 16)
    )
    assert 0 < whole.members.sum() < len(whole.members)
    for found in parts:
        assert np.array_equal(found.members, whole.members)
        assert relative(found.scores.per_image, whole.scores.per_image) < 1e-11


def test_a_searched_threshold_does_not_depend_on_batches(contrast):
    model, x, y, labels = contrast
    pairs, use = ImagePairs.of(model, x, y, labels), METHODS.resolve("vi-cd", {"sweeps": 3})
    found = [
        discover(model, pairs[:3], use, form="attention", selection=pairs[3:8], execution=Execution(batch_size=size))
        for size in (8, 1, 2, 4)
    ]
    assert "all_edges" not in found[0].trace
    for other in found[1:]:
        assert np.array_equal(other.members, found[0].members)
        assert [t["edges"] for t in other.trace["sweeps"]] == [t["edges"] for t in found[0].trace["sweeps"]]


@pytest.mark.parametrize("method", ["eap-ig", "conductance", "gate-ig", "eap-ig-activations"])
def test_scores_of_token_groups_equal_those_of_single_images(model, pairs, method):
    masks = torch.rand(WHOLE, model.n_tokens, generator=torch.Generator().manual_seed(0)) < 0.5
    grouped = ImagePairs.of(model, pairs.clean, pairs.corrupted, pairs.labels, token_groups={"some": masks})

    def part(some, size):
        return score_edges(model, some, method, execution=Execution(batch_size=size)).parts["some"].per_image

    expected = each(lambda pair, size: part(pair, size)[0], grouped)
    for n, size in BATCHES:
        assert relative(part(grouped[:n], size), expected[:n], of=expected) < 1e-11


PATH = ["input->a0.h1<v>", "a0.h1->a1.h0<k>", "a1.h0->logits"]
EDGES = [*PATH, "input->a1.h0<k>", "m0->a1.h0<k>", "input->m1", "a0.h0->m1", "m0->logits", "input->logits"]
MEASURES = {
    "patch_edges": lambda *asked, **options: patch_edges(*asked, EDGES, **options).mean,
    "patch_nodes": lambda *asked, **options: patch_nodes(*asked, **options).mean,
    "patch_nodes at each token": lambda *asked, **options: patch_nodes(*asked, tokens="each", **options).mean,
    "patch_path": lambda *asked, **options: patch_path(*asked, PATH, **options).mean,
    "head_to_head": lambda *asked, **options: head_to_head(*asked, 0, 1, **options).frame[["effect", "direct"]],
}
"""Means over images of what patching does."""
MEANS = [f"{kind}_{run}" for kind in ("metric", "accuracy") for run in ("full", "empty", "circuit")]
"""What an evaluation averages over images."""


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("direction", ["noising", "denoising"])
@pytest.mark.parametrize("name", MEASURES)
def test_patched_parts_equal_those_of_single_images(model, pairs, name, direction, metric):
    def measured(some, size):
        options = {"direction": direction, "metric": metric, "execution": Execution(batch_size=size)}
        return np.asarray(MEASURES[name](model, some, **options))

    expected = each(measured, pairs)
    subtracted = logits_of(model, pairs.clean, pairs.corrupted)
    for n, size in BATCHES:
        assert relative(measured(pairs[:n], size), expected[:n].mean(axis=0), of=subtracted) < 1e-12
    assert relative(expected, 0, of=subtracted) > 1e-6


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_one_image_in_a_larger_batch_on_every_variant(toy_vit, images, changes):
    """For methods that run several images or edges at once."""
    model = toy_vit(depth=2, **changes)
    pair = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [0])
    for patch in (MEASURES["patch_edges"], MEASURES["patch_nodes at each token"]):
        found, expected = (patch(model, pair, execution=Execution(batch_size=size)) for size in (16, 1))
        assert relative(found, expected, of=logits_of(model, pair.clean, pair.corrupted)) < 1e-12


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("form", FORMS)
def test_evaluations_of_circuits_equal_those_of_single_images(model, pairs, form, metric):
    graph = model.graph(form)
    circuits = [random_circuit(graph, graph.n_edges // 2, seed=seed) for seed in range(2)]

    def ran(some, size):
        execution = Execution(batch_size=size)
        found = evaluate_many(model, some, circuits, metric=metric, execution=execution)
        single = evaluate(model, some, circuits[0], metric=metric, execution=execution)
        assert (single.metric_circuit, single.n) == (pytest.approx(found[0].metric_circuit, rel=1e-12), len(some))
        return np.array([[getattr(e, name) for name in MEANS] for e in found])

    expected = each(ran, pairs)
    for n, size in BATCHES:
        assert relative(ran(pairs[:n], size), expected[:n].mean(axis=0), of=expected) < 1e-12


@pytest.mark.parametrize("n", [9, 12])
def test_searched_sizes_do_not_depend_on_batches(contrast, n):
    model, x, y, labels = contrast
    pairs = ImagePairs.of(model, x, y, labels)[:n]
    scores = score_edges(model, pairs, form="attention", steps=20)
    for search in (smallest_with_retention, smallest_by_bisection):
        whole, *parts = (
            search(model, pairs, scores, target=0.6, execution=Execution(batch_size=size))
            for size in (n, 1, 2, 4, 5, 8)
        )
        assert 0 < whole.n_edges < whole.graph.n_edges
        for found in parts:
            assert np.array_equal(found.members, whole.members) and found.extraction == whole.extraction
