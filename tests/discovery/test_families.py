"""Scores on every supported family, compared with gates, autograd and one general run per edge."""

import numpy as np
import pytest
import torch
from circuitstore.discovery import METHODS, discover, score_edges
from circuitstore.evaluation import Execution, ImagePairs, evaluate
from circuitstore.models import GRADIENTS, load_model

from ..families import FAMILIES, build
from ..reference import LABELS, logit, logits_of, one_by_one, relative
from .removal_loop import absolute, held, loop, question

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")


@pytest.mark.parametrize("name", [*FAMILIES, "CLIP"])
def test_scores_of_every_family_equal_the_references(name, images, brute_force):
    model = load_model(build(name), dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    scores = score_edges(model, pairs, steps=2, rule="midpoint")
    brute = brute_force(model.module, model.graph("split"))
    expected = brute.scores(model.embed(x), model.embed(y), logit(LABELS), [0.25, 0.75])
    assert relative(scores.per_image, expected) < 1e-11
    for direction in ("noising", "denoising"):
        exact = score_edges(model, pairs, "exact", form="head", direction=direction)
        edges, expected = one_by_one(model, "head", x, y, direction)
        assert relative(exact.per_image[:, edges], expected, of=logits_of(model, x, y)) < 1e-12
    whole = evaluate(model, pairs, scores.top(scores.graph.n_edges))
    full = logit(LABELS)(model.logits(x)).mean().item()
    assert whole.metric_circuit == pytest.approx(full, rel=0, abs=1e-12 * np.abs(logits_of(model, x)).max())


@pytest.mark.parametrize("name", ["rotary, learnt and per head", "DINOv3", "SigLIP", "CLIP"])
def test_sequential_patching_decides_as_the_loop(name, images, brute_force):
    model = load_model(build(name), dtype="float64")
    pairs, streams, graph, metric, threshold = question(model, images)
    expected = loop(brute_force(model.module, graph), streams, graph, metric, absolute(threshold))
    use = METHODS.resolve("vi-cd", {"threshold": threshold})
    found = discover(model, pairs, use, form="attention", execution=Execution(batch_size=12))
    held(found, expected)


@pytest.mark.parametrize("name", ["rotary, learnt and per head", "CLIP"])
@pytest.mark.parametrize("gradient", ["relp-ah", "gim"])
def test_gradient_modes_do_not_change_the_forward_of_other_families(name, images, gradient):
    model = load_model(build(name), dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    with torch.enable_grad(), GRADIENTS[gradient].during(model):
        logits = model.readout(model.through_blocks(model.embed(x).requires_grad_()))
    assert relative(logits.detach().numpy(), model.logits(x).numpy()) < 1e-13
    plain, other = (score_edges(model, pairs, "eap", gradient=g).mean for g in ("plain", gradient))
    assert relative(other, plain) > 1e-3
