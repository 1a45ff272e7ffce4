"""No answer depends on how its images are batched; a mean over images is that of each image answered by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, random_circuit
from circuitstore.discovery import (
    METHODS,
    METRICS,
    Images,
    bisected,
    discover,
    evaluate,
    evaluate_many,
    head_to_head,
    patch_edges,
    patch_nodes,
    patch_path,
    score_edges,
    smallest_with_retention,
)

from .reference import VARIANTS, relative

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")

BATCHES = [(1, 4), (3, 2), (5, 4), (5, 3), (5, None)]
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


def pairs(model, images, n=WHOLE):
    """The first `n` image pairs with their labels."""
    return images(model, WHOLE, 1)[:n], images(model, WHOLE, 2)[:n], torch.arange(n)


def each(answer, data):
    """The answers for every image pair by itself."""
    return np.stack([answer(*(part[i : i + 1] for part in data), batch_size=1) for i in range(len(data[0]))])


def asked(method):
    """Parameters for few steps; where edges are removed, for a threshold at which none is."""
    few = {"steps": 2, "fraction": 0.4, "threshold": -1.0, "absolute": True}
    return {name: value for name, value in few.items() if name in METHODS[method].params}


@pytest.mark.parametrize(("method", "form", "direction"), [a for a in ASKED if a[0] not in LEARNED])
def test_scores_are_those_of_each_image_by_itself(model, images, method, form, direction):
    def scores(x, y, labels, batch_size):
        options = {"method": method, "form": form, "direction": direction, "batch_size": batch_size}
        return discover(model, x, y, labels, **options, **asked(method)).scores

    expected = each(lambda *data, batch_size: scores(*data, batch_size).per_image[0], pairs(model, images))
    for n, size in BATCHES:
        found = scores(*pairs(model, images, n), size)
        assert relative(found.per_image, expected[:n], of=expected) < 1e-11
        assert relative(found.mean, expected[:n].mean(axis=0), of=expected) < 1e-11


@pytest.mark.parametrize(("method", "form"), [a[:2] for a in ASKED if a[0] in LEARNED])
def test_learned_orders_do_not_depend_on_batches(model, images, method, form):
    for n in (1, 3, 5):
        data = pairs(model, images, n)
        whole, *parts = (
            discover(model, *data, method=method, form=form, batch_size=size, **asked(method)) for size in (5, 1, 2, 4)
        )
        for found in parts:
            assert relative(found.scores.mean, whole.scores.mean) < 1e-9


@pytest.mark.parametrize("method", ["acdc", "vi-cd"])
def test_decisions_do_not_depend_on_batches(model, images, method):
    x, y, labels = pairs(model, images)
    gap = float((model.logits(x) - model.logits(y))[range(5), labels].mean())
    options = {"method": method, "form": "attention", "threshold": 0.05 * abs(gap)}
    whole, *parts = (discover(model, x, y, labels, batch_size=size, **options) for size in (5, 1, 2, 3, 4, 16))
    assert 0 < whole.members.sum() < len(whole.members)
    for found in parts:
        assert np.array_equal(found.members, whole.members)
        assert relative(found.scores.per_image, whole.scores.per_image) < 1e-11


def test_a_threshold_that_is_searched_does_not_depend_on_batches(contrast):
    model, x, y, labels = contrast
    found = [
        discover(
            model, x[:3], y[:3], labels[:3], method="vi-cd", form="attention", sweeps=3, batch_size=size,
            selection=Images(x[3:8], y[3:8], labels[3:8]),
        )
        for size in (8, 1, 2, 4)
    ]  # fmt: skip
    assert "all_edges" not in found[0].trace
    for other in found[1:]:
        assert np.array_equal(other.members, found[0].members)
        assert [t["edges"] for t in other.trace["sweeps"]] == [t["edges"] for t in found[0].trace["sweeps"]]


@pytest.mark.parametrize("method", ["eap-ig", "conductance", "gate-ig", "eap-ig-activations"])
def test_scores_of_token_groups_are_those_of_each_image(model, images, method):
    masks = torch.rand(WHOLE, model.n_tokens, generator=torch.Generator().manual_seed(0)) < 0.5

    def part(x, y, labels, batch_size, groups):
        found = score_edges(model, x, y, labels, method=method, token_groups={"some": groups}, batch_size=batch_size)
        return found.parts["some"].per_image

    expected = each(lambda *data, batch_size: part(*data[:3], batch_size, data[3])[0], (*pairs(model, images), masks))
    for n, size in BATCHES:
        assert relative(part(*pairs(model, images, n), size, masks[:n]), expected[:n], of=expected) < 1e-11


PATH = ["input->a0.h1<v>", "a0.h1->a1.h0<k>", "a1.h0->logits"]
EDGES = [*PATH, "input->a1.h0<k>", "m0->a1.h0<k>", "input->m1", "a0.h0->m1", "m0->logits", "input->logits"]
MEASURES = {
    "patch_edges": lambda *data, **options: patch_edges(*data, EDGES, **options).mean,
    "patch_nodes": lambda *data, **options: patch_nodes(*data, **options).mean,
    "patch_nodes at each token": lambda *data, **options: patch_nodes(*data, tokens="each", **options).mean,
    "patch_path": lambda model, *data, **options: patch_path(model, PATH, *data, **options).mean,
    "head_to_head": lambda model, *data, **options: head_to_head(model, 0, 1, *data, **options).frame[
        ["effect", "direct"]
    ],
}
"""Means over images of what patching does."""
MEANS = [f"{kind}_{run}" for kind in ("metric", "accuracy") for run in ("full", "empty", "circuit")]
"""What an evaluation averages over images."""


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("direction", ["noising", "denoising"])
@pytest.mark.parametrize("name", MEASURES)
def test_patched_parts_are_those_of_each_image_by_itself(model, images, name, direction, metric):
    def measured(x, y, labels, batch_size):
        targets = (labels + 1) % 5 if METRICS[metric].needs_targets else None
        options = {"direction": direction, "metric": metric, "targets": targets, "batch_size": batch_size}
        return np.asarray(MEASURES[name](model, x, y, labels, **options))

    expected = each(measured, pairs(model, images))
    subtracted = model.logits(torch.cat(pairs(model, images)[:2])).numpy()
    for n, size in BATCHES:
        assert relative(measured(*pairs(model, images, n), size), expected[:n].mean(axis=0), of=subtracted) < 1e-12
    assert relative(expected, 0, of=subtracted) > 1e-6


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_one_image_in_a_larger_batch_on_every_variant(toy_vit, images, changes):
    """Of runs that are made several at a time."""
    model = toy_vit(depth=2, **changes)
    data = pairs(model, images, 1)
    subtracted = model.logits(torch.cat(data[:2])).numpy()
    for patch in (MEASURES["patch_edges"], MEASURES["patch_nodes at each token"]):
        assert relative(patch(model, *data, batch_size=16), patch(model, *data, batch_size=1), of=subtracted) < 1e-12


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("form", FORMS)
def test_circuits_run_alone_do_on_each_image_what_they_do_on_all(model, images, form, metric):
    graph = model.graph(form)
    circuits = [random_circuit(graph, graph.n_edges // 2, seed=seed) for seed in range(2)]

    def ran(x, y, labels, batch_size):
        targets = (labels + 1) % 5 if METRICS[metric].needs_targets else None
        options = {"metric": metric, "targets": targets, "batch_size": batch_size}
        found = evaluate_many(model, circuits, x, y, labels, **options)
        single = evaluate(model, circuits[0], x, y, labels, **options)
        assert (single.metric_circuit, single.n) == (pytest.approx(found[0].metric_circuit, rel=1e-12), len(x))
        return np.array([[getattr(e, name) for name in MEANS] for e in found])

    expected = each(ran, pairs(model, images))
    for n, size in BATCHES:
        assert relative(ran(*pairs(model, images, n), size), expected[:n].mean(axis=0), of=expected) < 1e-12


@pytest.mark.parametrize("n", [9, 12])
def test_sizes_that_are_searched_do_not_depend_on_batches(contrast, n):
    model, x, y, labels = (part[:n] if isinstance(part, torch.Tensor) else part for part in contrast)
    scores = score_edges(model, x, y, labels, form="attention", steps=20)
    for search in (smallest_with_retention, bisected):
        whole, *parts = (
            search(model, scores, x, y, labels, target=0.6, batch_size=size) for size in (n, 1, 2, 4, 5, 8)
        )
        assert 0 < whole.n_edges < whole.graph.n_edges
        for found in parts:
            assert np.array_equal(found.members, whole.members) and found.extraction == whole.extraction
