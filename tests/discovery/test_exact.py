"""Exact patching against the general patched run, which shares no shortcut with it."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.discovery import score_edges
from circuitstore.models import CLEAN, CURRENT, PatchedRuns, capture

from .test_eap_ig import LABELS, VARIANTS, logit, relative


def one_by_one(model, form, x, y, direction):
    """Some edges, and their scores per image by one general run each."""
    graph, clean, corrupted = model.graph(form), capture(model, x), capture(model, y)
    scores, edges = [], np.random.default_rng(0).choice(graph.n_edges, 16, replace=False)
    for edge in edges:
        if direction == "noising":
            logits = PatchedRuns(model, clean.stream, corrupted).logits(graph, np.arange(graph.n_edges) != edge)
            scores.append(logit(LABELS)(clean.logits) - logit(LABELS)(logits))
        else:
            carries = np.full(graph.n_edges, CURRENT)
            carries[edge] = CLEAN
            logits = PatchedRuns(model, corrupted.stream, corrupted, clean).logits(graph, carries)
            scores.append(logit(LABELS)(logits) - logit(LABELS)(corrupted.logits))
    return edges, torch.stack(scores, dim=1).numpy()


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_every_variant_equals_one_general_run_per_edge(toy_vit, images, changes, direction):
    model = toy_vit(**changes)
    x, y = images(model, 2, 1), images(model, 2, 2)
    found = score_edges(model, x, y, LABELS, method="exact", direction=direction, batch_size=6)
    edges, expected = one_by_one(model, "split", x, y, direction)
    assert relative(found.per_image[:, edges], expected) < 1e-11


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_every_form_equals_one_general_run_per_edge(toy_vit, images, form, direction):
    model = toy_vit(1, qk_norm=True, init_values=0.2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    found = score_edges(model, x, y, LABELS, method="exact", form=form, direction=direction)
    edges, expected = one_by_one(model, form, x, y, direction)
    assert relative(found.per_image[:, edges], expected) < 1e-11


def test_equal_images_score_nothing(toy_vit, images):
    model = toy_vit()
    x = images(model, 2)
    assert np.abs(score_edges(model, x, x.clone(), LABELS, method="exact").per_image).max() < 1e-12
