"""Pruning to a few neurons: which ones are set to 0, read from a model that counts them, and leaks of masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution
from circuitstore.evaluation.neurons import prune_by_class, prune_neurons
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..additive import additive_model

LAYERS, NEURONS = 3, 8
FULL = 2 ** (LAYERS * NEURONS) - 1


@pytest.fixture(scope="module")
def binary():
    """A model whose first logit is Σ 2^i over the neurons that are not 0, numbered layer by layer."""
    powers = 2.0 ** torch.arange(LAYERS * NEURONS, dtype=torch.float64).reshape(LAYERS, NEURONS)
    return additive_model(torch.ones(LAYERS, NEURONS, dtype=torch.float64), powers)


def silenced(model, images, keep, **options):
    """Return which neurons pruning sets to 0."""
    found = prune_neurons(model, images, [0] * len(images), keep, **options)
    assert (found.before[:, 0] == FULL).all() and (found.after[:, 0] == found.after[0, 0]).all()
    left = int(found.after[0, 0])
    return ~np.array([left >> i & 1 for i in range(LAYERS * NEURONS)], bool).reshape(LAYERS, NEURONS)


@st.composite
def masks(draw):
    rng, k = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.integers(0, NEURONS))
    return np.stack([rng.permutation(NEURONS)[:k] for _ in range(LAYERS)])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(masks(), st.floats(0, 1), st.floats(0, 1), st.integers(0, LAYERS), st.integers(0, 5))
def test_a_share_of_the_others_is_set_to_zero_and_shares_are_nested(binary, images, keep, a, b, depth, seed):
    x, (less, more) = images(binary, 1), sorted((a, b))
    few, many = (silenced(binary, x, keep, fraction=share, depth=depth, seed=seed) for share in (less, more))
    assert (few <= many).all()
    for layer in range(LAYERS):
        others = NEURONS - keep.shape[1]
        assert not many[layer, keep[layer]].any()
        assert few[layer].sum() == (round(less * others) if layer < depth else 0)


def test_all_others_are_set_to_zero_by_default(binary, images):
    keep = np.array([[0, 1], [2, 3], [7, 0]])
    off = silenced(binary, images(binary, 2), keep)
    assert [np.flatnonzero(~row).tolist() for row in off] == [[0, 1], [2, 3], [0, 7]]
    assert silenced(binary, images(binary, 1), keep[:, :0]).all()


def test_seeds_draw_other_neurons(binary, images):
    x, none = images(binary, 1), np.zeros((LAYERS, 0), int)
    drawn = [silenced(binary, x, none, fraction=0.5, seed=seed) for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


@pytest.mark.parametrize("tokens", ["class", "patches", "all"])
def test_nothing_pruned_changes_no_bit(toy_vit, images, tokens):
    model = toy_vit(depth=2)
    x, some = images(model, 3), np.arange(10).reshape(2, 5)
    options = [(some, {"fraction": 0}), (some, {"depth": 0}), (np.tile(np.arange(64), (2, 1)), {})]
    for keep, choice in options:
        found = prune_neurons(model, x, [0, 1, 2], keep, tokens=tokens, **choice)
        assert np.array_equal(found.before, found.after)


def test_at_all_tokens_without_neurons_the_mlp_writes_its_bias(toy_vit, images):
    model = toy_vit(depth=2)
    x = images(model, 3)
    stream = model.embed(x)
    for block in model.blocks:
        stream = stream + block.ls1(block.attn(block.norm1(stream))) + block.ls2(block.mlp.fc2.bias)
    found = prune_neurons(model, x, [0, 1, 2], np.zeros((2, 0), int), tokens="all", execution=Execution(batch_size=2))
    assert np.allclose(found.after, model.readout(stream), rtol=1e-12, atol=1e-12)


def test_masks_of_classes_are_compared_with_the_model_and_with_controls(toy_vit, images):
    model = toy_vit(depth=2)
    x, labels = images(model, 11), np.arange(11) % 3
    keep = {2: np.arange(8).reshape(2, 4), 0: np.arange(8, 16).reshape(2, 4)}
    reports = []
    execution = Execution(batch_size=4, progress=lambda *done: reports.append(done))
    table = prune_by_class(model, x, labels, keep, tokens="all", fraction=0.7, seed=3, execution=execution)
    rows = table.to_pandas().set_index(["class", "kept"])
    assert rows.index.tolist() == [(cls, kept) for cls in (2, 0) for kept in ("all", "class", "random", "none")]
    assert reports == [(1, 2), (2, 2)]
    masks = {"all": np.tile(np.arange(64), (2, 1)), "none": np.zeros((2, 0), int)}
    for cls, own in keep.items():
        for kept, mask in (masks | {"class": own}).items():
            found = prune_neurons(model, x, [cls] * 11, mask, tokens="all", fraction=0.7, seed=3)
            mine, row = labels == cls, rows.loc[cls, kept]
            assert row["probability"] == pytest.approx(found.probability_after[mine].mean())
            assert row["accuracy"] == found.hit_after[mine].mean() and row["leak"] == found.hit_after[~mine].mean()
            assert row["balanced_accuracy"] == pytest.approx((row["accuracy"] + 1 - row["leak"]) / 2)
    again = prune_by_class(model, x, labels, keep, tokens="all", fraction=0.7, seed=3)
    assert np.allclose(table.to_pandas().iloc[:, 2:], again.to_pandas().iloc[:, 2:])


def test_a_mask_that_makes_every_image_its_class_leaks(images):
    """The kept neuron writes class 0, the other one class 1 more: by accuracy the mask is perfect, balanced it is ½."""
    model = additive_model(
        torch.ones(1, 2, dtype=torch.float64), torch.tensor([[1.0, -3.0]], dtype=torch.float64)
    )  # logits (1 − 3, 0): all images are read as class 1
    table = prune_by_class(model, images(model, 4), [0, 0, 1, 1], {0: np.array([[0]])})
    rows = table.to_pandas().set_index("kept")
    assert rows.loc["all", ["accuracy", "leak", "balanced_accuracy"]].tolist() == [0, 0, 0.5]
    assert rows.loc["class", ["accuracy", "leak", "balanced_accuracy"]].tolist() == [1, 1, 0.5]


def test_what_does_not_fit_raises(toy_vit, images, unchecked):
    model = toy_vit(depth=2)
    x, keep = images(model, 2), np.zeros((2, 1), int)
    for fraction in (-0.1, 1.1, np.nan, "all"):
        with pytest.raises(InputError, match="fraction: expected a share"):
            prune_neurons(model, x, [0, 1], keep, fraction=fraction)
    for depth in (-1, 3, 1.5):
        with pytest.raises(InputError, match=f"depth: expected a number of layers from 0 to 2, got {depth}"):
            prune_neurons(model, x, [0, 1], keep, depth=depth)
    with pytest.raises(InputError, match=r"keep: expected whole numbers \[2 layers, k\], got int64 of shape \(3, 1\)"):
        prune_neurons(model, x, [0, 1], np.zeros((3, 1), int))
    with pytest.raises(InputError, match="keep: each layer has neurons 0 to 63, got 64"):
        prune_neurons(model, x, [0, 1], keep + 64)
    with pytest.raises(InputError, match=r"keep\[1\]: each layer has neurons 0 to 63, got -1"):
        prune_by_class(model, x, [0, 1], {0: keep, 1: keep - 1})
    for labels in ([0, 0], [1, 2]):
        with pytest.raises(InputError, match="expected some of class 0 and some of other classes"):
            prune_by_class(model, x, labels, {0: keep})
    pooled = toy_vit(depth=2, class_token=False, global_pool="avg")
    with pytest.raises(InputError, match="no class token; use tokens='all' or tokens='patches'"):
        prune_neurons(pooled, images(pooled, 2), [0, 1], keep)
