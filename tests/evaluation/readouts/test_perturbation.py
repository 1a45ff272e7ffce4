"""Relative change of logits under noise, and agreement of predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore import agreement, perturbation
from circuitstore.circuits import Circuit
from circuitstore.errors import InputError
from circuitstore.evaluation import READOUTS, Execution, ImagePairs, measure, outcomes

from ...reference import relative


def pairs_of(model, images, count=3):
    return ImagePairs.of(model, images(model, count, 1), images(model, count, 2), [0, 1, 3][:count])


def test_the_change_is_that_of_the_jacobian_for_small_noise(toy_vit, images):
    """The mean square over draws is ‖J‖² of the logits in pixels of [0, 1], where std is ½."""
    model = toy_vit(depth=1)
    pairs = pairs_of(model, images, 1)
    found = perturbation(model, pairs, strengths=[1e-4, 2e-4], samples=600).values[0, 0]
    jacobian = torch.autograd.functional.jacobian(model.module, pairs.clean)[0].flatten(1) / 0.5
    expected = 1e-4 * jacobian.norm() / model.logits(pairs.clean).norm()
    assert (found[0] ** 2).mean() ** 0.5 == pytest.approx(expected.item(), rel=0.1)
    assert relative(found[1], 2 * found[0]) < 1e-3  # the same noise


def test_no_noise_changes_nothing(toy_vit, images):
    model = toy_vit()
    circuit = Circuit(model.graph("block"), np.arange(model.graph("block").n_edges) % 3 > 0)
    found = perturbation(model, pairs_of(model, images), circuit, strengths=[0, 0.3], samples=2)
    assert found.names == ("image", "run", "strength", "sample") and found.values.shape == (3, 3, 2, 2)
    assert found.axis("strength").labels == ("0", "0.3")
    assert found.select(strength="0").values.max() < 1e-13
    assert found.select(strength="0.3").values.min() > 0


def test_the_whole_graph_is_the_model_and_nothing_is_unchanged(toy_vit, images):
    model = toy_vit()
    graph = model.graph("split")
    found = perturbation(model, pairs_of(model, images), Circuit(graph, np.ones(graph.n_edges, bool)), samples=2)
    by_run = {run: found.select(run=run).values for run in found.axis("run").labels}
    assert relative(by_run["circuit"], by_run["model"]) < 1e-10
    assert not by_run["complement"].any()


def test_noise_depends_on_the_image_and_the_seed_only(toy_vit, images):
    model = toy_vit(depth=1)
    pairs = pairs_of(model, images)
    found = perturbation(model, pairs, strengths=[0.2])
    singly = perturbation(model, pairs, strengths=[0.1, 0.2], execution=Execution(batch_size=1))
    assert relative(singly.select(strength=["0.2"]).values, found.values) < 1e-11
    assert not np.allclose(perturbation(model, pairs, strengths=[0.2], seed=1).values, found.values)
    kind = READOUTS["perturbation"]
    read = kind.read(model, measure(model, pairs, "logit"), kind.use(samples=2))
    assert np.array_equal(read.select(strength="0.2").values, found.select(strength="0.2", sample=[0, 1]).values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strengths": []}, "strengths: expected numbers of at least 0"),
        ({"strengths": [-0.1]}, "strengths: expected numbers of at least 0"),
        ({"strengths": [0.1, 0.1]}, "axis 'strength': expected different labels"),
        ({"samples": 0}, "samples: expected a whole number of at least 1, got 0"),
    ],
)
def test_bad_requests_raise(toy_vit, images, options, message):
    model = toy_vit(depth=1)
    with pytest.raises(InputError, match=message):
        perturbation(model, pairs_of(model, images), **options)


def test_circuits_of_other_graphs_raise(toy_vit, images):
    model, deeper = toy_vit(depth=1), toy_vit(depth=2)
    circuit = Circuit(deeper.graph("block"), np.ones(deeper.graph("block").n_edges, bool))
    for function in (perturbation, agreement):
        with pytest.raises(InputError, match="its graph has 2 layers"):
            function(model, pairs_of(model, images), circuit)


def test_predictions_agree(toy_vit, images):
    model = toy_vit(seed=3)
    pairs = ImagePairs.of(model, images(model, 20, 1), images(model, 20, 2), [0] * 20)
    graph = model.graph("block")
    whole = agreement(model, pairs, Circuit(graph, np.ones(graph.n_edges, bool)))
    assert whole.names == ("image", "run") and whole.axis("run").labels == ("circuit", "complement", "empty")
    assert whole.select(run="circuit").values.all()
    same = model.logits(pairs.clean).argmax(1) == model.logits(pairs.corrupted).argmax(1)
    assert 0 < same.sum() < 20
    for run in ("complement", "empty"):
        assert np.array_equal(whole.select(run=run).values, same.numpy())
    part = Circuit(graph, np.arange(graph.n_edges) % 2 == 0)
    full, _, own = outcomes(model, pairs, [part])
    assert np.array_equal(agreement(model, pairs, part).values[:, 0], (own.predicted == full.predicted).numpy())
