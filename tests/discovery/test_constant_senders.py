"""Zero and mean ablation: senders sending constants, compared with brute force and with images that give the same."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from circuitstore.discovery import METHODS, discover, score_edges
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.models import load_model, mean_outputs, zero_outputs

from ..families import build
from ..reference import LABELS, VARIANTS, Gates, logit, relative
from .removal_loop import absolute, loop

KINDS = ("zero", "mean")
WITH_IMAGES = ("conductance", "eap-ig")


@pytest.fixture(autouse=True)
def _residuals_are_tested_apart():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)
        yield


class ConstantGates(Gates):
    """∂m/∂gate of every edge, with constants instead of a corrupted run."""

    def __init__(self, brute, kind, x, averaged):
        super().__init__(brute, x, averaged)
        means = [sent.mean(0, keepdim=True) for sent in self.old]
        self.old = [mean.expand_as(x) * (kind == "mean") for mean in means]
        self.moved = [new - old for new, old in zip(self.new, self.old, strict=True)]

    def eap(self):
        return self.gradient(self.x, lambda e, value, gate: value + gate * self.moved[self.graph.edge_sender[e]])

    def masked(self, _, __, mask):
        """Return the logits with open edges current and closed edges constant."""
        sender = self.graph.edge_sender
        return self.brute.run(self.x, lambda e, value: value if mask[e] else self.old[sender[e]])[0].detach()

    def exact(self):
        n, full = self.graph.n_edges, logit(LABELS)(self.masked(None, None, np.ones(self.graph.n_edges, bool)))
        lost = [logit(LABELS)(self.masked(None, None, np.arange(n) != edge)) for edge in range(n)]
        return torch.stack([full - each for each in lost], dim=1).numpy()

    def expected(self, method, steps):
        return {"eap": self.eap, "exact": self.exact}.get(method, lambda: Gates.expected(self, method, steps))()


@pytest.fixture
def question(images, brute_force):
    """Pairs with constants, and the brute force that shares no code with them."""

    def build(model, form, kind):
        x, averaged = images(model, 2, 1), images(model, 2, 2)
        constants = zero_outputs(model) if kind == "zero" else mean_outputs(model, averaged.split(1))
        gates = ConstantGates(brute_force(model.module, model.graph(form)), kind, model.embed(x), model.embed(averaged))
        return ImagePairs.of(model, x, constants, LABELS), gates

    return build


def scored(model, pairs, method, form, steps=2):
    params = {"steps": steps} if "steps" in METHODS[method].params else {}
    return score_edges(model, pairs, METHODS.resolve(method, params), form=form)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "form"),
    [
        (method, form)
        for method in ("eap", "exact", "gate-ig", "eap-ig-activations", "eap-ig-activations-heads",
                       "eap-ig-activations-as-coded")
        for form in METHODS[method].forms
    ],
)  # fmt: skip
def test_every_form_equals_brute_force(toy_vit, question, kind, method, form):
    model = toy_vit(1, qk_norm=True, init_values=0.2, depth=2)
    pairs, gates = question(model, form, kind)
    expected = gates.expected(method, 2)
    assert relative(scored(model, pairs, method, form).per_image, expected) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["eap", "gate-ig", "exact"])
def test_every_variant_equals_brute_force(toy_vit, question, changes, kind, method):
    model = toy_vit(depth=2, **changes)
    pairs, gates = question(model, "head", kind)
    assert relative(scored(model, pairs, method, "head").per_image, gates.expected(method, 2)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["CLIP", "DINOv2", "SigLIP", "EVA-02", "DINOv3"])
def test_other_families_equal_brute_force(question, kind, family):
    model = load_model(build(family), dtype="float64")
    pairs, gates = question(model, "split", kind)
    assert relative(scored(model, pairs, "eap", "split").per_image, gates.expected("eap", 1)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "form"), [("acdc", "head"), ("acdc", "split"), ("vi-cd", "attention")])
def test_sequential_methods_decide_as_a_loop_of_whole_runs(toy_vit, question, kind, method, form):
    model = toy_vit(2, depth=2)
    pairs, gates = question(model, form, kind)
    threshold = 0.1 * float(np.abs(gates.exact().mean(0)).max())
    rule = absolute(threshold)
    members, effects, _ = loop(gates, (None, None), gates.graph, logit(LABELS), rule)
    params = {"threshold": threshold} | ({"absolute": True} if method == "acdc" else {})
    found = discover(model, pairs, METHODS.resolve(method, params), form=form)
    assert (found.members == members).all()
    assert relative(found.scores.mean, effects) < 1e-10
    few = discover(model, pairs, METHODS.resolve(method, params), form=form, execution=Execution(batch_size=1))
    assert (few.members == members).all()


SMALL = {
    "ugs": {"steps": 3},
    "edge-pruning": {"steps": 3},
    "iterative-pruning": {"steps": 2},
    "iterative-expansion": {"steps": 2},
    "acdc": {"threshold": 0.05},
    "vi-cd": {"threshold": 0.05},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", [key for key in METHODS if key not in WITH_IMAGES])
def test_the_mean_over_one_image_is_this_image(toy_vit, images, method):
    model = toy_vit(depth=2)
    x, y = images(model, 3, 1), images(model, 1, 2)
    form = "split" if "split" in METHODS[method].forms else METHODS[method].forms[0]
    use = METHODS.resolve(method, SMALL.get(method, {}))
    by_image, by_mean = (
        discover(model, ImagePairs.of(model, x, corrupted, [0, 1, 2]), use, form=form)
        for corrupted in (y.repeat(3, 1, 1, 1), mean_outputs(model, [y.repeat(4, 1, 1, 1)]))
    )
    if by_image.members is not None:
        assert (by_image.members == by_mean.members).all()
    assert relative(by_mean.scores.mean, by_image.scores.mean) < 1e-9


@pytest.mark.parametrize("method", [key for key in METHODS if key not in WITH_IMAGES and key not in SMALL])
@pytest.mark.parametrize("size", [1, 2])
def test_the_batch_size_changes_nothing(toy_vit, images, method, size):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 3, 1), zero_outputs(model), [0, 1, 2])
    form = "split" if "split" in METHODS[method].forms else METHODS[method].forms[0]
    whole, parts = (
        score_edges(model, pairs, method, form=form, execution=Execution(batch_size=n)).per_image for n in (3, size)
    )
    assert relative(parts, whole) < 1e-11


@pytest.mark.parametrize("method", WITH_IMAGES)
def test_methods_with_a_path_between_images_raise(toy_vit, images, method):
    model = toy_vit(depth=1)
    pairs = ImagePairs.of(model, images(model, 2), zero_outputs(model), LABELS)
    with pytest.raises(InputError, match=f"method '{method}' follows a path of images .* use 'eap', 'gate-ig'"):
        score_edges(model, pairs, method)


@pytest.mark.parametrize("method", [key for key in METHODS if "denoising" in METHODS[key].directions])
def test_denoising_raises(toy_vit, images, method):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 2), zero_outputs(model), LABELS)
    with pytest.raises(InputError, match=f"method '{method}', denoising: .* has no image; use 'noising'"):
        discover(model, pairs, method, direction="denoising", form=METHODS[method].forms[0])


@pytest.mark.parametrize("kind", KINDS)
def test_residuals_are_deviations_from_the_run_with_constants(toy_vit, question, kind):
    model = toy_vit(3, depth=1)
    pairs, gates = question(model, "head", kind)
    none = logit(LABELS)(gates.masked(None, None, np.zeros(gates.graph.n_edges, bool)))
    gap = float((logit(LABELS)(model.logits(pairs.clean)) - none).mean())
    found = scored(model, pairs, "gate-ig", "head")
    assert found.residual_absolute == pytest.approx(abs(found.mean.sum() - gap), rel=1e-9)
