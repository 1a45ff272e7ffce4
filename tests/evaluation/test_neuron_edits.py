"""Removal and enhancement of neurons, compared with a forward pass that is written out and with figures by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.evaluation.neurons.edits import edit_neurons
from circuitstore.models import load_model, neuron_tokens

from ..additive import additive_model
from ..reference import VARIANTS

WITH_CLASS_TOKEN = {name: of for name, of in VARIANTS.items() if "global_pool" not in of}


def random_paths(model, count, k=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(64), (count, model.n_layers, 1)), axis=2)[:, :, :k]


def written_out(model, images, paths, factor, places):
    """Return logits with each image's neurons multiplied, in plain torch."""
    stream = model.embed(images)
    for layer, block in enumerate(model.blocks):
        stream = stream + block.ls1(block.attn(block.norm1(stream)))
        neurons = block.mlp.norm(block.mlp.act(block.mlp.fc1(block.norm2(stream))))
        for image, chosen in enumerate(paths[:, layer]):
            for neuron in chosen:
                neurons[image, places, neuron] *= factor
        stream = stream + block.ls2(block.mlp.fc2(neurons))
    return model.module.forward_head(model.module.norm(stream)).numpy()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("factor", "tokens"), [(0, "class"), (2, "patches"), (-0.5, "all")])
def test_every_variant_equals_plain_torch(toy_vit, images, name, factor, tokens):
    model = toy_vit(depth=2, **VARIANTS[name])
    if name not in WITH_CLASS_TOKEN and tokens == "class":
        tokens = "all"
    x, paths = images(model, 3), random_paths(model, 3)
    found = edit_neurons(model, x, [1, 3, 0], paths, factor=factor, tokens=tokens, execution=Execution(batch_size=2))
    expected = written_out(model, x, paths, factor, neuron_tokens(model, tokens))
    assert np.allclose(found.after, expected, rtol=1e-12, atol=1e-12)
    assert np.array_equal(found.before, model.logits(x).numpy()) or np.allclose(found.before, model.logits(x), 1e-13)
    assert np.abs(found.after - found.before).max() > 1e-6


@pytest.mark.parametrize("tokens", ["class", "patches", "all"])
def test_factor_one_changes_no_bit(toy_vit, images, tokens):
    model = toy_vit(reg_tokens=1)
    found = edit_neurons(model, images(model, 5), [0] * 5, random_paths(model, 5), factor=1, tokens=tokens)
    assert np.array_equal(found.before, found.after)
    assert (found.ratio == 1).all()
    assert (found.summary().to_pandas()[["value", "low", "high"]] == 0).all(axis=None)


def test_at_all_tokens_a_factor_is_one_on_weights(toy_vit, toy_module, images):
    """The same path for all images: column b of fc2 times the factor."""
    model, module = toy_vit(depth=2), toy_module(depth=2)
    with torch.no_grad():
        for block, neuron in zip(module.blocks, (5, 40), strict=True):
            block.mlp.fc2.weight[:, neuron] *= 3
    x = images(model, 3)
    found = edit_neurons(model, x, [0, 1, 2], np.array([[5], [40]]), factor=3, tokens="all")
    assert np.allclose(found.after, load_model(module, dtype="float64").logits(x), rtol=1e-12, atol=1e-12)


def test_an_additive_model_by_hand(images):
    """Removal of all that matters gives p = ½, and doubling s(2S)."""
    values = torch.tensor([[0.5, 2.0, 3.0], [1.0, 4.0, 0.25], [1.5, 0.1, 7.0]], dtype=torch.float64)
    weights = torch.zeros(3, 3, dtype=torch.float64)
    path = [1, 0, 2]
    weights[range(3), path] = torch.tensor([0.3, -0.4, 0.2], dtype=torch.float64)
    model = additive_model(values, weights)
    total = 0.3 * 2 - 0.4 * 1 + 0.2 * 7
    x, paths = images(model, 3), np.tile(np.array(path)[:, None], (3, 1, 1))
    for factor in (0, 0.5, 2, -1):
        found = edit_neurons(model, x, [0, 1, 0], paths, factor=factor)
        sign = np.array([1, -1, 1])
        expected = 1 / (1 + np.exp(-sign * factor * total))
        assert np.abs(found.probability_after - expected).max() < 1e-15
        assert np.allclose(found.logit, [(factor - 1) * total, 0, (factor - 1) * total])
    others = edit_neurons(model, x, [0, 1, 0], (paths + 1) % 3)
    assert np.array_equal(others.before, others.after)
    first = edit_neurons(model, x[:1], [0], np.array([[[1], [1], [1]]]))  # a path with one neuron that matters
    assert first.logit == pytest.approx(-0.3 * 2)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 50])
def test_images_do_not_depend_on_their_batch(toy_vit, images, batch_size):
    model = toy_vit(depth=2)
    reports = []
    execution = Execution(batch_size=batch_size, progress=lambda *done: reports.append(done))
    x, paths = images(model, 7), random_paths(model, 7)
    found = edit_neurons(model, x, [0, 1, 2, 3, 4, 0, 1], paths, execution=execution)
    single = [edit_neurons(model, x[i : i + 1], [0], paths[i : i + 1]).after[0] for i in range(7)]
    assert np.allclose(found.after, single, rtol=1e-12, atol=1e-12)
    assert reports[-1] == (7, 7)


def test_what_does_not_fit_raises(toy_vit, images, unchecked):
    model = toy_vit(depth=2)
    x, paths = images(model, 2), np.zeros((2, 2, 1), int)
    with pytest.raises(InputError, match=r"paths: expected .*got shape \(2, 3, 1\)"):
        edit_neurons(model, x, [0, 1], np.zeros((2, 3, 1), int))
    for wrong in (-1, 64):
        with pytest.raises(InputError, match=f"neurons 0 to 63, got {wrong}"):
            edit_neurons(model, x, [0, 1], paths + wrong)
    for factor in (np.inf, np.nan, "0"):
        with pytest.raises(InputError, match="factor: expected a finite number"):
            edit_neurons(model, x, [0, 1], paths, factor=factor)
    with pytest.raises(InputError, match="classes 0 to 4, got 5"):
        edit_neurons(model, x, [0, 5], paths)
    with pytest.raises(InputError, match="expected 2 class indices"):
        edit_neurons(model, x, [0], paths)
    with pytest.raises(InputError, match="images: expected a tensor"):
        edit_neurons(model, x[:, :, :4], [0, 1], paths)
    with pytest.raises(InputError, match="tokens: unknown name 'cls'"):
        edit_neurons(model, x, [0, 1], paths, tokens="cls")
    pooled = toy_vit(depth=2, class_token=False, global_pool="avg")
    with pytest.raises(InputError, match="no class token; use tokens='all' or tokens='patches'"):
        edit_neurons(pooled, images(pooled, 2), [0, 1], paths)
    with pytest.raises(InputError, match="load it"):
        edit_neurons("digits", x, [0, 1], paths)


def test_natural_and_attacked_images_are_compared_pair_by_pair(toy_vit, images):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 4, 1), images(model, 4, 2), [0, 1, 1, 0])
    paths = random_paths(model, 4)
    one, two = (edit_neurons(model, x, pairs.labels, paths) for x in (pairs.clean, pairs.corrupted))
    between = one.difference(two).to_pandas().set_index("measure")["value"]
    assert between["probability"] == pytest.approx((one.ratio - two.ratio).mean())
