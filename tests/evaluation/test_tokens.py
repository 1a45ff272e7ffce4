"""Scores over token groups compared with one gate per edge and token; groups from a mask over pixels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from circuitstore import score_edges, token_groups
from circuitstore.circuits import FORMS
from circuitstore.discovery import METHODS
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.models import load_model
from timm.models.deit import VisionTransformerDistilled

from ..families import build
from ..reference import LABELS, logit, relative


@pytest.fixture(autouse=True)
def _residuals_are_tested_apart():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)
        yield


def some_masks():
    """One mask for all images and one per image, overlapping."""
    own = torch.tensor([[True, False, True, False, False], [False, True, True, False, True]])
    return {"first": torch.arange(5) < 2, "own": own}


@pytest.mark.parametrize("form", FORMS)
def test_groups_equal_gates_per_token_and_autograd(toy_vit, images, brute_force, form):
    model = toy_vit(1, init_values=0.2, depth=2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS, token_groups=some_masks())
    found = score_edges(model, pairs, "eap", form=form)
    brute = brute_force(model.module, model.graph(form))
    sender = brute.graph.edge_sender
    (_, new), (_, old) = (brute.run(model.embed(image), lambda _, value: value) for image in (x, y))
    gates = torch.zeros(2, brute.graph.n_edges, 5, dtype=x.dtype, requires_grad=True)
    logits, _ = brute.run(model.embed(x), lambda e, v: v + gates[:, e, :, None] * (new[sender[e]] - old[sender[e]]))
    (per_token,) = torch.autograd.grad(logit(LABELS)(logits).sum(), gates)
    assert set(found.parts) == {"first", "own"}
    for name, mask in some_masks().items():
        expected = (per_token * mask.expand(2, 5)[:, None]).sum(-1).numpy()
        assert relative(found.parts[name].per_image, expected) < 1e-11
        assert relative(found.parts[name].mean, expected.mean(axis=0)) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("method", [key for key, method in METHODS.items() if method.tokens])
def test_groups_that_partition_the_tokens_sum_to_the_scores(toy_vit, images, method):
    model = toy_vit(reg_tokens=2, depth=2)
    x, y, labels = images(model, 3, 1), images(model, 3, 2), [0, 1, 2]
    mask = torch.zeros(3, 8, 8, dtype=torch.bool)
    mask[0, :4], mask[1, :, 4:], mask[2, 1:4, 1:4] = True, True, True
    pairs = ImagePairs.of(model, x, y, labels)
    grouped = ImagePairs.of(model, x, y, labels, token_groups=token_groups(model, mask))
    steps = {"steps": 2} if "steps" in METHODS[method].params else {}
    options = {"form": "head", "execution": Execution(batch_size=2), **steps}
    found = score_edges(model, grouped, method, **options)
    assert list(found.parts) == ["class", "registers", "inside", "outside"]
    assert relative(sum(part.per_image for part in found.parts.values()), found.per_image) < 1e-12
    assert relative(found.per_image, score_edges(model, pairs, method, **options).per_image) < 1e-12
    assert all(np.abs(part.per_image).max() > 0 for part in found.parts.values())


def test_parts_follow_their_scores(toy_vit, images):
    model = toy_vit(depth=2)
    x, y = images(model, 3, 1), images(model, 3, 2)
    pairs = ImagePairs.of(model, x, y, [0, 1, 2], token_groups=token_groups(model))
    found = score_edges(model, pairs, "eap")
    some = np.array([2, 0])
    assert np.array_equal(found.subset(some).parts["class"].per_image, found.parts["class"].per_image[some])
    projected = found.project("block").parts["patches"]
    assert relative(projected.per_image, found.parts["patches"].project("block").per_image) == 0


def test_groups_of_a_model_and_a_mask(toy_vit):
    plain = token_groups(toy_vit(depth=1))
    assert {name: tokens.tolist() for name, tokens in plain.items()} == {
        "class": [True, False, False, False, False],
        "patches": [False, True, True, True, True],
    }
    distilled = token_groups(toy_vit(depth=1, factory=VisionTransformerDistilled))
    assert distilled["class"].tolist() == [True, True, False, False, False, False]
    no_prefix = token_groups(toy_vit(depth=1, class_token=False, global_pool="avg"))
    assert list(no_prefix) == ["patches"] and no_prefix["patches"].all()


def test_a_patch_is_inside_when_half_of_it_is(toy_vit):
    model = toy_vit(reg_tokens=1, depth=1)
    mask = np.zeros((8, 8), bool)
    mask[:4, :2] = True  # half of the first patch
    mask[4:, 4:] = True  # all of the last
    mask[4:, :4] = np.arange(16).reshape(4, 4) < 7  # less than half of the third
    groups = token_groups(model, mask)
    assert groups["registers"].tolist() == [False, True, False, False, False, False]
    assert groups["inside"].tolist() == [False, False, True, False, False, True]
    assert groups["outside"].tolist() == [False, False, False, True, True, False]
    assert token_groups(model, mask[None])["inside"].shape == (1, 6)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({}, "at least one named mask"),
        ({"a": torch.ones(5)}, "expected a boolean mask .5 tokens. or .2 images, 5 tokens."),
        ({"a": torch.ones(4, dtype=torch.bool)}, r"of shape \(4,\)"),
        ({"a": np.ones((3, 5), bool)}, r"of shape \(3, 5\)"),
    ],
)
def test_masks_that_do_not_fit_raise(toy_vit, images, masks, message):
    model = toy_vit(depth=1)
    with pytest.raises(InputError, match=message):
        ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS, token_groups=masks)


def test_pixels_that_do_not_fit_raise(toy_vit):
    for mask in (np.ones((7, 8), bool), torch.ones(8, 8)):
        with pytest.raises(InputError, match="expected booleans"):
            token_groups(toy_vit(depth=1), mask)


def test_every_additive_method_has_scores_per_token():
    assert {key for key, method in METHODS.items() if method.additive} <= {k for k, m in METHODS.items() if m.tokens}


@pytest.mark.parametrize("method", [key for key, method in METHODS.items() if not method.tokens])
def test_a_method_without_scores_per_token_raises(toy_vit, images, method):
    model = toy_vit(depth=1)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS, token_groups=token_groups(model))
    with pytest.raises(InputError, match=f"'{method}' has no scores per token; methods that have: eap, eap-ig"):
        score_edges(model, pairs, method, form=METHODS[method].forms[0])


def test_registers_of_other_families_are_a_group():
    groups = token_groups(load_model(build("DINOv3"), dtype="float64"))
    assert [int(groups[name].sum()) for name in ("class", "registers", "patches")] == [1, 2, 4]
