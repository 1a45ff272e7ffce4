"""Gated edits: flagged images are edited, others are bit-identical, each by itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import ImagePairs
from circuitstore.evaluation.interventions import (
    ablate_components,
    ablate_edges,
    fit_directions,
    gated,
    projection_gate,
    steer_edges,
    steer_senders,
    suppress_neurons,
    threshold_at,
)
from circuitstore.models import ViT, zero_outputs
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Red:
    """Flags images by their mean red."""

    threshold: float
    id: str = "red"

    def scores(self, model: ViT, images: Tensor) -> np.ndarray:
        assert model.logits(images[:1]).shape == (1, 5)  # it may run the model
        return images[:, 0].mean(dim=(1, 2)).numpy()


def edits(model: ViT, images) -> dict:
    pairs = ImagePairs.of(model, images(model, 4), images(model, 4, seed=1), [0] * 4)
    directions, zeros = fit_directions(model, pairs, quantile=0.3), zero_outputs(model)
    return {
        "edges": steer_edges(directions, directions.graph.edge_names[::5]),
        "senders": steer_senders(directions),
        "ablated edges": ablate_edges(model, directions.graph.edge_names[::7], zeros),
        "ablated components": ablate_components(model, ["a1.h1", "m0"], zeros),
        "neurons": suppress_neurons(model, ["m0.n1", "m1.n2"], pairs.clean),
    }


@pytest.mark.parametrize("name", ["edges", "senders", "ablated edges", "ablated components", "neurons"])
def test_only_flagged_images_are_edited(toy_vit, images, name: str) -> None:
    model = toy_vit()
    edit, pixels = edits(model, images)[name], images(model, 6, seed=2)
    red = pixels[:, 0].mean(dim=(1, 2))
    gate = Red(float(red.median()))
    flagged = red > gate.threshold
    assert flagged.tolist().count(True) == 3
    plain = model.logits(pixels)
    with edit.applied(model):
        edited = model.logits(pixels)
    with gated(edit, gate).applied(model):
        found = model.logits(pixels)
        streamed = model.readout(model.through_blocks(model.embed(pixels)))
        single = torch.cat([model.logits(image) for image in pixels.split(1)])
    assert torch.equal(found[~flagged], plain[~flagged])
    assert torch.equal(found[flagged], edited[flagged])
    assert not torch.allclose(edited, plain)
    assert torch.equal(streamed, found)
    torch.testing.assert_close(single, found, rtol=1e-12, atol=1e-12)
    assert torch.equal(gated(edit, gate).wrapped(model)(pixels), found)
    assert torch.equal(model.logits(pixels), plain)


def test_gradients_are_those_of_the_branch(toy_vit, images) -> None:
    model = toy_vit()
    edit, pixels = edits(model, images)["edges"], images(model, 2, seed=2)
    red = pixels[:, 0].mean(dim=(1, 2))
    gate = Red(float(red.mean()))

    def gradient(module) -> Tensor:
        moved = pixels.clone().requires_grad_()
        return torch.autograd.grad(module(moved)[:, 0].sum(), moved)[0]

    found, edited, plain = (gradient(m) for m in (gated(edit, gate).wrapped(model), edit.wrapped(model), model.module))
    flagged = red > gate.threshold
    torch.testing.assert_close(found[flagged], edited[flagged])
    torch.testing.assert_close(found[~flagged], plain[~flagged])
    assert not torch.allclose(edited, plain)


def test_a_stream_of_other_images_raises_an_error(toy_vit, images) -> None:
    model = toy_vit()
    edit = gated(edits(model, images)["edges"], Red(0.0))
    with edit.applied(model):
        stream = model.embed(images(model, 2))
        with pytest.raises(InputError, match="expected a run of the 2 images that the gate has seen, got one of 4"):
            model.through_blocks(torch.cat([stream, stream]))
    with pytest.raises(InputError, match="expected one without a gate"):
        gated(edit, Red(0.0))


@pytest.mark.parametrize("statistic", ["mean", "max"])
def test_the_projection_gate_scores_the_excess(toy_vit, images, brute_force, statistic) -> None:
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 4), images(model, 4, seed=1), [0] * 4)
    directions = fit_directions(model, pairs, quantile=0.3)
    gate = projection_gate(
        model, directions, pairs.clean, senders=["m1", "input"], statistic=statistic, false_alarms=0.5
    )
    pixels = images(model, 3, seed=2)
    _, sent = brute_force(model.module, directions.graph).run(model.embed(pixels), lambda _, value: value)
    excess = []
    for sender in (0, directions.graph.senders.index("m1")):
        vector, offset = (torch.from_numpy(values[sender]) for values in (directions.vectors, directions.offsets))
        excess.append(((sent[sender] * vector).sum(-1) - offset).clamp_min(0)[:, directions.defined[sender]])
    together = torch.cat(excess, dim=1)
    expected = together.mean(1) if statistic == "mean" else together.amax(1)
    torch.testing.assert_close(gate.scores(model, pixels), expected.detach())
    assert (gate.scores(model, pairs.clean) > gate.threshold).sum() == 2
    with pytest.raises(InputError, match="gate: fitted on the model"):
        gate.scores(toy_vit(seed=1), pixels)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_threshold_keeps_the_false_alarm_rate(values: list[float], rate: float) -> None:
    scores = np.array(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)
        threshold = threshold_at(scores, rate)
    assert (scores > threshold).mean() <= rate + 1e-9
    lower = scores[scores < threshold]
    if len(lower):
        assert (scores > lower.max()).mean() > rate


def test_wrong_rates_are_named(unchecked) -> None:
    for rate in (-0.1, 1, float("nan"), "a"):
        with pytest.raises(InputError, match="false_alarms: expected a number from 0 to below 1"):
            threshold_at(np.ones(3), rate)
    with pytest.raises(InputError, match="scores: expected at least one finite number"):
        threshold_at(np.array([1.0, np.nan]), 0.1)
    with pytest.warns(CircuitStoreWarning, match=r"3 images are too few for a rate of 0\.05"):
        assert threshold_at(np.array([1.0, 2.0, 3.0]), 0.05) == 3
