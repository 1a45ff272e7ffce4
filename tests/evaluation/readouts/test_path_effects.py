"""Effects of neuron paths: worked out by hand, equal to those of an edit, and what is rejected."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
import torch
from circuitstore import edit_neurons, path_effects
from circuitstore.circuits import Circuit, Neurons, random_circuit
from circuitstore.errors import InputError
from circuitstore.evaluation import READOUTS, Execution, ImagePairs, measure

from ...planted_neurons import additive


def path_of(neurons: Neurons, names: list[str]) -> Circuit:
    return Circuit.from_edges(neurons, names)


def logistic(s: float) -> float:
    return 1 / (1 + exp(-s))


def test_a_path_is_worked_out_by_hand() -> None:
    model = additive([[1.0, 1, 1, 1], [1.0, 1, 1, 1]], [[0.5, 0.25, 0, 0], [1.0, 0, -0.5, 0.25]])
    total = 0.5 + 0.25 + 1 - 0.5 + 0.25
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    pairs = ImagePairs.of(model, images, -images, [0, 1, 0])
    found = path_effects(model, pairs, path_of(Neurons(2, 4), ["m0.n0->m1", "m1.n2->logits"]), draws=3, tokens="all")
    own = 0.5 - 0.5
    removed, enhanced = logistic(total - own) - logistic(total), logistic(total + own) - logistic(total)
    path = found.select(neurons="path").values
    assert path[0] == pytest.approx([removed, enhanced], abs=1e-12)
    other = path_effects(model, pairs, path_of(Neurons(2, 4), ["m0.n0->m1", "m1.n0->logits"]), tokens="all")
    removed, enhanced = logistic(total - 1.5) - logistic(total), logistic(total + 1.5) - logistic(total)
    assert other.select(neurons="path").values[0] == pytest.approx([removed, enhanced], abs=1e-12)
    assert other.values[1] == pytest.approx(-other.values[0], abs=1e-12)  # of two classes, the other one gains


def test_the_effects_are_those_of_an_edit_and_random_neurons_are_not_on_the_path(toy_vit, images) -> None:
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 5), images(model, 5, 1), [0, 1, 2, 3, 4])
    width = model.blocks[0].mlp.fc2.in_features
    rng = np.random.default_rng(0)
    chosen = np.sort(np.stack([rng.choice(width, 2, replace=False) for _ in range(model.n_layers)]))
    ends = [*(f"m{layer + 1}" for layer in range(model.n_layers - 1)), "logits"]
    names = [f"m{layer}.n{n}->{ends[layer]}" for layer in range(model.n_layers) for n in chosen[layer]]
    path = path_of(Neurons(model.n_layers, width), names)
    found = path_effects(model, pairs, path, draws=2, execution=Execution(batch_size=2))
    for change, factor in (("removed", 0), ("enhanced", 2)):
        edited = edit_neurons(model, pairs.clean, pairs.labels, chosen, factor=factor)
        expected = edited.probability_after - edited.probability_before
        assert np.allclose(found.select(neurons="path", change=change).values, expected, rtol=1e-9, atol=1e-12)
    again = path_effects(model, pairs, path, draws=2)
    assert np.allclose(again.values, found.values, atol=1e-12)
    one, two = (path_effects(model, pairs, path, draws=n).select(neurons="random").values for n in (1, 2))
    assert not np.allclose(one, two)


def test_what_is_no_path_of_the_model_is_rejected(toy_vit, images) -> None:
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2), images(model, 2, 1), [0, 1])
    width, layers = model.blocks[0].mlp.fc2.in_features, model.n_layers
    with pytest.raises(InputError, match=rf"path: expected a circuit over the {layers} × {width} neurons of"):
        path_effects(model, pairs, random_circuit(model.graph("block"), 4, seed=0))
    first = [f"m{i}.n0->{f'm{i + 1}' if i + 1 < layers else 'logits'}" for i in range(layers)]
    uneven = path_of(Neurons(layers, width), [*first, first[0].replace("n0", "n1")])
    with pytest.raises(InputError, match=r"the same number of neurons in each layer, from 1 to .+, got 2, 1"):
        path_effects(model, pairs, uneven)
    kind = READOUTS["path-effects"]
    with pytest.raises(InputError, match="read-out 'path-effects': expected the path that it is about, got none"):
        kind.read(model, measure(model, pairs, "logit"), kind.use(circuit="none"))
    with pytest.raises(InputError, match="read-out 'path-effects': tokens: expected class or patches or all"):
        path_effects(model, pairs, uneven, tokens="some")
