"""Scores on every family that is taken, against one gate per edge, autograd and one general run per edge."""

import pytest
from circuitstore.discovery import evaluate, score_edges
from circuitstore.models import load_model

from ..families import FAMILIES, build
from .test_eap_ig import LABELS, logit, relative
from .test_exact import one_by_one

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")


@pytest.mark.parametrize("name", [*FAMILIES, "CLIP"])
def test_every_family_keeps_the_identities(name, images, brute_force):
    model = load_model(build(name), dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    scores = score_edges(model, x, y, LABELS, steps=2, rule="midpoint")
    brute = brute_force(model.module, model.graph("split"))
    expected = brute.scores(model.embed(x), model.embed(y), logit(LABELS), [0.25, 0.75])
    assert relative(scores.per_image, expected) < 1e-11
    for direction in ("noising", "denoising"):
        exact = score_edges(model, x, y, LABELS, method="exact", form="head", direction=direction)
        edges, expected = one_by_one(model, "head", x, y, direction)
        assert relative(exact.per_image[:, edges], expected) < 1e-11
    whole = evaluate(model, scores.top(scores.graph.n_edges), x, y, LABELS)
    assert whole.metric_circuit == pytest.approx(logit(LABELS)(model.logits(x)).mean().item(), rel=1e-12)
