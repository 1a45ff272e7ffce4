"""Conductance of neurons: it adds up, and equals that of the edges out of the MLP and that of a loop written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.evaluation.neurons import edit_neurons, neuron_conductance
from circuitstore.models import mean_outputs

from ..additive import additive_model
from ..reference import LABELS, VARIANTS, logit


@pytest.fixture
def pairs_of(images):
    return lambda model, count=2: ImagePairs.of(
        model, images(model, count, 1), images(model, count, 2), (LABELS * count)[:count]
    )


@pytest.mark.filterwarnings("ignore:conductance")  # three steps leave a residual
@pytest.mark.parametrize("name", VARIANTS)
def test_the_neurons_of_a_layer_carry_what_the_edges_out_of_its_mlp_carry(toy_vit, pairs_of, name):
    model = toy_vit(depth=2, **VARIANTS[name])
    pairs = pairs_of(model)
    edges = score_edges(model, pairs, method="conductance", form="block", steps=3)
    found = neuron_conductance(model, pairs, steps=3)
    graph = model.graph("block")
    for layer in range(2):
        out = edges.per_image[:, graph.edge_sender == graph.mlp_sender(layer)].sum(axis=1)
        assert np.allclose(found.per_image[:, layer].sum(axis=1), out, rtol=1e-5, atol=1e-6)


def test_a_loop_written_out_gives_the_same(toy_vit, pairs_of):
    """One neuron at a time: the gradient of a run in which a number is added to the neuron at all tokens."""
    model = toy_vit(depth=1)
    pairs, steps, chosen = pairs_of(model), 2, (0, 17, 63)
    x, y = model.embed(pairs.clean), model.embed(pairs.corrupted)
    block = model.blocks[0]

    def run(stream, added):
        stream = stream + block.attn(block.norm1(stream))
        neurons = block.mlp.act(block.mlp.fc1(block.norm2(stream)))
        return neurons, model.readout(stream + block.mlp.fc2(neurons + added))

    total = 0.0
    for k in range(steps):
        low, middle, high = (torch.lerp(y, x, (k + part) / steps) for part in (0, 0.5, 1))
        added = torch.zeros(2, model.n_tokens, 64, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(logit(LABELS)(run(middle, added)[1]).sum(), added)
        total = total + ((run(high, 0)[0] - run(low, 0)[0]) * gradient).sum(dim=1)
    found = neuron_conductance(model, pairs, steps=steps)
    assert np.allclose(found.per_image[:, 0, chosen], total[:, chosen], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("metric", ["logit", "kl", "logit-over-mean"])
def test_neurons_and_the_stream_around_them_carry_the_whole_difference(toy_vit, pairs_of, metric):
    model = toy_vit(depth=1)
    pairs = pairs_of(model)
    found = [neuron_conductance(model, pairs, metric=metric, steps=steps) for steps in (20, 40)]
    errors = [np.abs(f.per_image.sum(axis=2) + f.around - f.total[:, None]).max() for f in found]
    assert errors[1] < 1e-2 * np.abs(found[0].total).max() and 3.5 < errors[0] / errors[1] < 4.5
    table = found[1].by_layer().to_pandas()
    assert table["layer"].tolist() == [0] and np.abs(table["residual"]).max() < 1e-2
    assert np.allclose(table["neurons"] + table["around"], table["total"] * (1 + table["residual"]))


def test_tokens_divide_the_neurons(toy_vit, pairs_of):
    model = toy_vit(depth=2)
    pairs = pairs_of(model, 3)
    by_class, patches, everywhere = (
        neuron_conductance(model, pairs, tokens=tokens, steps=2) for tokens in ("class", "patches", "all")
    )
    assert np.allclose(by_class.per_image + patches.per_image, everywhere.per_image)
    for part in (by_class, patches):  # what is not in the neurons is around them
        assert np.allclose(
            part.per_image.sum(axis=2) + part.around, everywhere.per_image.sum(axis=2) + everywhere.around
        )
    assert np.abs(patches.per_image[:, -1]).max() < 1e-12 < np.abs(by_class.per_image[:, -1]).max()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_images_do_not_depend_on_their_batch(toy_vit, pairs_of, batch_size):
    model = toy_vit(depth=1)
    pairs, reports = pairs_of(model, 5), []
    execution = Execution(batch_size=batch_size, progress=lambda *done: reports.append(done))
    found = neuron_conductance(model, pairs, steps=1, execution=execution)
    single = [neuron_conductance(model, pairs[i : i + 1], steps=1).per_image[0] for i in range(5)]
    assert np.allclose(found.per_image, single, rtol=1e-12, atol=1e-14)
    assert reports[-1] == (5, 5)


def test_a_neuron_that_does_not_change_carries_nothing(images):
    """The neurons of the additive model have the same values on all images."""
    ones = torch.ones(2, 3, dtype=torch.float64)
    model = additive_model(ones, ones)
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), [0, 1])
    found = neuron_conductance(model, pairs, steps=1)
    assert not found.per_image.any() and not found.total.any() and np.isnan(found.residual).all()


def test_the_best_neurons_come_first(toy_vit, pairs_of):
    model = toy_vit(depth=2)
    pairs = pairs_of(model, 3)
    found = neuron_conductance(model, pairs, steps=2)
    frame = found.to_pandas()
    assert frame["score"].is_monotonic_decreasing and len(frame) == 2 * 64
    layer, neuron = np.unravel_index(found.mean.argmax(), found.mean.shape)
    assert frame["node"][0] == f"m{layer}.n{neuron}"
    assert frame["std"][0] == pytest.approx(found.per_image[:, layer, neuron].std(ddof=1))
    paths = found.paths(2)
    assert np.array_equal(paths[:, :, 0], found.per_image.argmax(axis=2)) and paths.shape == (3, 2, 2)
    assert len(edit_neurons(model, pairs.clean, pairs.labels, paths)) == 3
    assert neuron_conductance(model, pairs[:1], steps=2).to_pandas()["std"].isna().all()


def test_what_does_not_fit_raises(toy_vit, pairs_of, images):
    model = toy_vit(depth=1)
    pairs = pairs_of(model)
    with pytest.raises(InputError, match="steps: expected a whole number of at least 1"):
        neuron_conductance(model, pairs, steps=0)
    with pytest.raises(InputError, match="metric"):
        neuron_conductance(model, pairs, metric="loss")
    with pytest.raises(InputError, match="k: expected a number from 0 to 64, got 65"):
        neuron_conductance(model, pairs, steps=1).paths(65)
    averaged = ImagePairs.of(model, pairs.clean, mean_outputs(model, [pairs.clean]), LABELS)
    with pytest.raises(InputError, match="corrupted: expected images"):
        neuron_conductance(model, averaged)
    pooled = toy_vit(depth=1, class_token=False, global_pool="avg")
    with pytest.raises(InputError, match="no class token; use tokens='all' or tokens='patches'"):
        neuron_conductance(pooled, pairs_of(pooled), tokens="class")
