"""Gated runs equal plain, corrupted and patched runs and brute force; their gradient is EAP."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import ImagePairs
from circuitstore.models import GatedRuns, PatchedRuns, capture, load_model
from torch import nn

from ..families import build

VARIANTS = {
    "plain": {},
    "LayerScale, q and k norm": {"init_values": 0.1, "qk_norm": True},
    "no qkv bias, registers": {"qkv_bias": False, "reg_tokens": 2},
    "average pooling": {"global_pool": "avg"},
    "no norms at all": {"norm_layer": nn.Identity},
}


@pytest.fixture
def pair(toy_vit, images):
    """Gated runs of random pairs: `pair(form, …)` returns model, clean and corrupted images, and the runs."""

    def build(form, **changes):
        model = toy_vit(**changes)
        x, y = images(model, 2, 1), images(model, 2, 2)
        return model, x, y, GatedRuns(model, model.graph(form), model.embed(x), capture(model, y))

    return build


def relative(found, expected):
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@pytest.mark.parametrize("form", FORMS)
def test_gates_of_0_and_1_equal_plain_corrupted_and_patched_runs(pair, form):
    model, x, y, runs = pair(form, init_values=0.2)
    n = runs.graph.n_edges
    assert relative(runs.logits(torch.ones(n)), model.logits(x)) < 1e-12
    assert relative(runs.logits(torch.zeros(n)), model.logits(y)) < 1e-12
    masks = np.random.default_rng(0).random((3, n)) < 0.5
    for mask in masks:
        expected = PatchedRuns(model, model.embed(x), capture(model, y)).logits(runs.graph, mask)
        assert relative(runs.logits(torch.from_numpy(mask).double()), expected) < 1e-12
    each = runs.logits(torch.from_numpy(masks[:2]).double())
    separate = torch.stack([runs.logits(torch.from_numpy(mask).double())[i] for i, mask in enumerate(masks[:2])])
    assert relative(each, separate) < 1e-12


@pytest.mark.parametrize(
    ("form", "variant"), [*((form, "plain") for form in FORMS), *(("split", name) for name in VARIANTS)][1:]
)
def test_mixtures_and_their_gradients_equal_brute_force(pair, brute_force, form, variant):
    model, x, y, runs = pair(form, **VARIANTS[variant])
    graph = runs.graph
    gates = torch.rand(graph.n_edges, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    brute = brute_force(model.module, graph)
    _, old = brute.run(model.embed(y), lambda _, value: value)

    def mixed(edge, value):
        reference = old[graph.edge_sender[edge]]
        return reference + gates[edge] * (value - reference)

    expected, _ = brute.run(model.embed(x), mixed)
    found = runs.logits(gates)
    assert relative(found, expected) < 1e-12
    (slope,), (brute_slope,) = (torch.autograd.grad(logits[:, 1].sum(), gates) for logits in (found, expected))
    assert relative(slope, brute_slope) < 1e-11


@pytest.mark.parametrize("family", ["SigLIP", "EVA-02", "rotary, learnt and per head", "DINOv3"])
def test_other_families(images, family):
    model = load_model(build(family), dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    graph = model.graph("split")
    runs = GatedRuns(model, graph, model.embed(x), capture(model, y))
    mask = np.random.default_rng(0).random(graph.n_edges) < 0.5
    patched = PatchedRuns(model, model.embed(x), capture(model, y)).logits(graph, mask)
    for gates, expected in ((mask, patched), (mask | True, model.logits(x)), (mask & False, model.logits(y))):
        assert relative(runs.logits(torch.from_numpy(gates).double()), expected) < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_at_open_gates_is_eap(pair, form):
    model, x, y, runs = pair(form, qk_norm=True)
    gates = torch.ones(2, runs.graph.n_edges, dtype=torch.float64, requires_grad=True)
    logits = runs.logits(gates)
    (slope,) = torch.autograd.grad(logits[0, 1] + logits[1, 3], gates)
    expected = score_edges(model, ImagePairs.of(model, x, y, [1, 3]), "eap", form=form).per_image
    assert relative(slope, torch.from_numpy(expected)) < 1e-11


def test_gates_that_do_not_fit_raise(pair):
    *_, runs = pair("block")
    for shape in ((3,), (3, runs.graph.n_edges)):
        with pytest.raises(InputError, match=r"one per edge of the block form \(28\)"):
            runs.logits(torch.ones(shape))
