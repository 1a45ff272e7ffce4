"""Constant outputs of senders: zeros, means over images, and the run in which every sender sends its constant."""

from functools import partial

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.errors import InputError
from circuitstore.models import PatchedRuns, capture, constant_run, load_model, mean_outputs, zero_outputs
from hypothesis import given, settings
from hypothesis import strategies as st

from ..reference import VARIANTS
from .test_patched_runs import assert_close


def parts(run):
    return [run.stream, *run.heads, *run.mlp_out]


def test_the_mean_is_that_of_each_sender_s_output(toy_vit, images):
    model = toy_vit()
    x = images(model, 5)
    found = mean_outputs(model, [x])
    assert found.images == 5 and found.model == model.fingerprint
    for mean, each in zip(parts(found.sent), parts(capture(model, x)), strict=True):
        assert_close(mean, each.mean(0, keepdim=True), 1e-14)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(7)), size=st.integers(1, 7))
def test_order_and_batches_change_nothing(toy_vit, images, order, size):
    model = toy_vit(depth=1)
    x = images(model, 7)
    whole, found = mean_outputs(model, [x]), mean_outputs(model, x[list(order)].split(size))
    for a, b in zip(parts(whole.sent), parts(found.sent), strict=True):
        assert_close(a, b, 1e-13)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_mean_over_equal_images_is_the_image_s_run(toy_vit, images, count):
    model = toy_vit()
    x = images(model, 1)
    run = constant_run(model, mean_outputs(model, [x.repeat(count, 1, 1, 1)]), 2)
    own = capture(model, x.repeat(2, 1, 1, 1))
    for name in ("stream", "attention_in", "ports", "heads", "mlp_in", "mlp_out", "final", "logits"):
        pair = (getattr(run, name), getattr(own, name))
        for a, b in zip(*pair, strict=True) if isinstance(pair[0], list) else [pair]:
            assert_close(a, b, 1e-12)
    assert run.constant and not own.constant


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_with_zero_senders_only_output_biases_remain(toy_vit, changes):
    model = toy_vit(depth=2, **changes)
    run = constant_run(model, zero_outputs(model), 1)
    near = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    biases = torch.zeros(model.d_model, dtype=torch.float64)
    for layer, block in enumerate(model.blocks):
        near(run.attention_in[layer], biases.expand_as(run.stream))
        biases = biases + block.ls1(block.attn.proj.bias.clone()).detach()
        near(run.mlp_in[layer], biases.expand_as(run.stream))
    assert_close(run.logits, model.readout(biases.expand_as(run.stream)).detach(), 1e-12)
    assert all(not part.any() for part in parts(run))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("opened", ["out of the last MLP", "none", "out of m0", "out of heads"])
def test_a_sender_that_reads_constants_sends_what_it_computes(toy_vit, images, brute_force, form, opened):
    """With all edges into it closed, and no open edge before it."""
    model = toy_vit(1)
    graph, x = model.graph(form), images(model, 3)
    run = constant_run(model, zero_outputs(model), 3)
    wanted = {"none": "-", "out of m0": "m0", "out of heads": "a1", "out of the last MLP": "m2"}[opened]
    mask = np.array([graph.edge(e).sender.startswith(wanted) for e in range(graph.n_edges)])
    found = PatchedRuns(model, model.embed(x), run).logits(graph, mask)
    expected, _ = brute_force(model.module, graph).run(model.embed(x), lambda e, value: value * float(mask[e]))
    assert_close(found, expected.detach(), 1e-12)


def test_another_type_of_the_same_model_takes_them(toy_module):
    exact, single = (load_model(toy_module().float().double(), dtype=dtype) for dtype in ("float64", "float32"))
    x = torch.randn(2, 3, *exact.image_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = constant_run(single, mean_outputs(exact, [x]), 2)
    assert run.logits.dtype == torch.float32
    assert_close(run.logits.double(), constant_run(exact, mean_outputs(exact, [x]), 2).logits, 1e-4)


def test_another_model_raises(toy_vit):
    with pytest.raises(InputError, match=r"of the model .*compute them with mean_outputs\(model, batches\)"):
        constant_run(toy_vit(1), zero_outputs(toy_vit(2)), 1)


def test_no_images_raise(toy_vit):
    with pytest.raises(InputError, match="batches: expected at least one image"):
        mean_outputs(toy_vit(), [])


def test_the_digest_depends_on_values_and_model(toy_vit, images):
    model, other = toy_vit(1), toy_vit(2)
    x = images(model, 2)
    found = [zero_outputs(model), zero_outputs(other), mean_outputs(model, [x]), mean_outputs(model, [x[:1]])]
    assert len({outputs.digest for outputs in found}) == 4
    assert mean_outputs(model, [x]).digest == found[2].digest
