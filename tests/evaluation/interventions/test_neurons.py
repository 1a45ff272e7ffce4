"""Suppression of neurons, compared with a forward pass that is written out and with effects worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.evaluation import ImagePairs
from circuitstore.evaluation.interventions import largest, neuron_attack_effects, suppress_neurons
from circuitstore.models import neuron_run
from torch import Tensor

PLACES = {"all": slice(None), "class": slice(0, 1), "patches": slice(1, None)}


@pytest.mark.parametrize("tokens", PLACES)
@pytest.mark.parametrize("to", ["mean", "cap"])
def test_neurons_send_their_level(toy_vit, images, to: str, tokens: str) -> None:
    model = toy_vit()
    clean, pixels = images(model, 6), images(model, 3, seed=1)
    edit = suppress_neurons(model, ["m1.n7", "m0.n3", "m1.n2"], clean, to=to, quantile=0.4, tokens=tokens)
    run = neuron_run(model, model.embed(clean), "all")

    def change(layer: int, values: Tensor) -> Tensor:
        values = values.clone()
        for neuron in {0: [3], 1: [2, 7]}.get(layer, []):
            own = run.neurons[layer][:, :, neuron]
            level = own.mean(0) if to == "mean" else own.quantile(0.4, dim=0)
            here = values[:, PLACES[tokens], neuron]
            level = level[PLACES[tokens]].expand_as(here)
            values[:, PLACES[tokens], neuron] = level if to == "mean" else torch.minimum(here, level)
        return values

    expected = neuron_run(model, model.embed(pixels), "all", change).logits
    with edit.applied(model):
        found = model.logits(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(edit.wrapped(model)(pixels).detach(), found)
    assert edit.neurons == ("m0.n3", "m1.n2", "m1.n7")


def test_effects_are_the_change_to_first_order(toy_vit, images) -> None:
    model = toy_vit(depth=2)
    clean = images(model, 2)
    pairs = ImagePairs.of(model, clean, clean + 1e-4 * images(model, 2, seed=1), [1, 2])
    effects = neuron_attack_effects(model, pairs)
    stream, sent = model.embed(pairs.corrupted), neuron_run(model, model.embed(clean), "all").neurons
    before = neuron_run(model, stream, "all").logits

    def restored(layer: int, neuron: int) -> Tensor:
        def change(at: int, values: Tensor) -> Tensor:
            values = values.clone()
            if at == layer:
                values[:, :, neuron] = sent[layer][:, :, neuron]
            return values

        return neuron_run(model, stream, "all", change).logits - before

    for layer, neuron in ((0, 5), (1, 11)):
        expected = restored(layer, neuron)[[0, 1], [1, 2]]
        found = effects.per_image[:, effects.names.index(f"m{layer}.n{neuron}")]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-2)


def test_the_largest_effects_come_first(toy_vit, images) -> None:
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 3), images(model, 3, seed=1), [0, 1, 2])
    effects = neuron_attack_effects(model, pairs)
    found = largest(effects, 5)
    values = dict(zip(effects.names, effects.mean, strict=True))
    assert [values[name] for name in found] == sorted(values.values(), reverse=True)[:5]
    assert effects.to_pandas().columns.tolist() == ["neuron", "effect", "std"]
    with pytest.raises(InputError, match="n: expected a whole number from 1 to 192, got 0"):
        largest(effects, 0)


def test_the_identity_is_of_neurons_levels_and_rule(toy_vit, images) -> None:
    model = toy_vit()
    clean = images(model, 4)
    edits = [
        suppress_neurons(model, ["m0.n1"], clean),
        suppress_neurons(model, ["m0.n2"], clean),
        suppress_neurons(model, ["m0.n1"], clean[:3]),
        suppress_neurons(model, ["m0.n1"], clean, to="cap"),
        suppress_neurons(model, ["m0.n1"], clean, tokens="class"),
    ]
    assert len({edit.intervention for edit in edits}) == 5
    assert edits[4].text == "suppress 1 neurons at tokens='class', mean"


@pytest.mark.parametrize("name", ["m9.n0", "m0.n64", "a0.h1", "m00.n1", "m0"])
def test_unknown_neurons_are_named(toy_vit, images, name: str) -> None:
    model = toy_vit()
    with pytest.raises(InputError, match=f"unknown neuron '{name}'"):
        suppress_neurons(model, [name], images(model))


def test_wrong_input_is_named(toy_vit, images, unchecked) -> None:
    model = toy_vit()
    with pytest.raises(InputError, match="neurons: expected a list of at least one name"):
        suppress_neurons(model, [], images(model))
    with pytest.raises(InputError, match="quantile: expected a number from 0 to 1, got -1"):
        suppress_neurons(model, ["m0.n1"], images(model), to="cap", quantile=-1)
    with pytest.raises(InputError, match="unknown value 'median'"):
        suppress_neurons(model, ["m0.n1"], images(model), to="median")
