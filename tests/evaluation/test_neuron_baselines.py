"""Baselines of neuron paths: what each takes, and what its choice depends on."""

import numpy as np
import torch
from circuitstore.evaluation import (
    Activation,
    InfluencePattern,
    PerLayer,
    RandomNeurons,
    neuron_paths,
)
from circuitstore.models import neuron_run

from . import literal_neurons as literal


def test_activation_takes_the_most_active_neurons(toy_vit, images):
    model = toy_vit()
    batch = images(model, 2)
    for tokens in ("class", "all"):
        clean = neuron_run(model, model.embed(batch), tokens).neurons
        found = neuron_paths(model, batch, [0, 1], Activation(k=3, tokens=tokens)).paths
        for layer, values in enumerate(clean):
            assert found[:, layer].tolist() == values.sum(dim=1).topk(3).indices.tolist()


def test_influence_pattern_follows_the_gradient_from_an_empty_image(toy_vit, images):
    model = toy_vit()
    batch = images(model, 4)
    mean = 0
    for a in (0.0, 0.25, 0.5, 0.75):
        stream = model.embed(a * batch)
        with torch.enable_grad():
            kept = []
            hooks = [
                b.mlp.fc2.register_forward_pre_hook(lambda _, args, into=kept: into.append(args[0]))
                for b in model.blocks
            ]
            logits = model.readout(model.through_blocks(stream.requires_grad_()))
            found = torch.autograd.grad(logits.softmax(dim=1)[torch.arange(4), torch.arange(4)].sum(), kept)
        for hook in hooks:
            hook.remove()
        mean = mean + torch.stack([g[:, 0] for g in found], dim=1)
    search = {"steps": 4, "nodes": None}
    each = neuron_paths(model, batch, range(4), InfluencePattern(**search)).paths
    assert each[:, :, 0].tolist() == mean.argmax(dim=2).tolist()
    pairs = neuron_paths(model, batch, range(4), InfluencePattern(shared=3, **search)).paths
    expected = [mean[:3].mean(dim=0).argmax(dim=1)] * 3 + [mean[3].argmax(dim=1)]
    assert pairs[:, :, 0].tolist() == torch.stack(expected).tolist()


def test_each_layer_by_itself_is_one_integral_per_layer(toy_vit, images):
    model = toy_vit()
    batch, search = images(model, 1), PerLayer(steps=5, nodes=None)
    found = neuron_paths(model, batch, [2], search).paths[0, :, 0]
    stream, clean = model.embed(batch), literal.run(model.module, model.embed(batch), {})[1]
    for layer in range(3):
        whole = {layer: torch.ones_like(clean[0], dtype=torch.bool)}
        (slope,) = literal.gradients(model.module, stream, 2, clean, whole, *search.points, "frozen")
        assert found[layer] == (slope[0] * clean[layer][0]).argmax()


def test_random_neurons_depend_on_the_image_and_the_seed_only(toy_vit, images):
    model = toy_vit()
    batch = images(model, 40)
    found = neuron_paths(model, batch, [0] * 40, RandomNeurons(k=2)).paths
    turned = neuron_paths(model, batch.flip(0), [1] * 40, RandomNeurons(k=2)).paths
    assert np.array_equal(found, turned[::-1])
    other = neuron_paths(model, batch, [0] * 40, RandomNeurons(k=2, seed=1)).paths
    assert (found != other).mean() > 0.9
    counts = np.bincount(found.ravel(), minlength=64)  # 240 of 64 neurons
    assert counts.min() >= 0 and counts.max() < 15 and (counts > 0).mean() > 0.9
