"""Footprints: sums over tokens are scores of edges, whichever way tokens are assigned."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from circuitstore import footprint, footprint_by_layer, score_edges, zero_outputs
from circuitstore.circuits import FORMS, Circuit
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import READOUTS, Execution, ImagePairs, measure
from circuitstore.models import load_model

from ...families import FAMILIES, build
from ...reference import LABELS, VARIANTS, relative


@pytest.fixture(autouse=True)
def _residuals_are_tested_elsewhere():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)
        yield


def pairs_of(model, images, **keywords):
    return ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS, **keywords)


def one_mask_per_token(model):
    return {str(token): torch.arange(model.n_tokens) == token for token in range(model.n_tokens)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_parts_equal_scores_over_each_token(toy_vit, images, form, changes):
    model = toy_vit(depth=2, **changes)
    found = footprint(model, pairs_of(model, images), model.graph(form).edge_names, form=form, steps=2)
    grouped = pairs_of(model, images, token_groups=one_mask_per_token(model))
    scores = score_edges(model, grouped, "eap-ig", form=form, steps=2)
    expected = np.stack([part.per_image for part in scores.parts.values()], axis=2)
    assert found.names == ("image", "edge", "token")
    assert relative(found.values, expected) < 1e-11
    assert relative(found.values.sum(axis=2), scores.per_image) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "CLIP"])
@pytest.mark.parametrize("form", ["split", "block"])
def test_sums_over_sources_are_scores(images, family, form):
    model = load_model(build(family), dtype="float64")
    pairs = pairs_of(model, images)
    scores = score_edges(model, pairs, "eap-ig", form=form, steps=2)
    for by in ("token", "source-token"):
        found = footprint(model, pairs, model.graph(form).edge_names, form=form, steps=2, by=by)
        assert found.names[2] == by.replace("-", "_")
        assert relative(found.values.sum(axis=2), scores.per_image) < 1e-10


@pytest.mark.parametrize(
    "params", [{"steps": 19}, {"rule": "left"}, {"rule": "right", "steps": 1}, {"gradient": "relp"}]
)
def test_parameters_are_those_of_eap_ig(toy_vit, images, params):
    model = toy_vit(depth=2)
    pairs = pairs_of(model, images)
    scores = score_edges(model, pairs, "eap-ig", form="head", **params)
    circuit = scores.top(12)
    found = footprint(model, pairs, circuit, execution=Execution(batch_size=1), **params)
    assert found.axis("edge").labels == circuit.edges and found.use["form"] == "head"
    members = [scores.graph.index_of(edge) for edge in circuit.edges]
    assert relative(found.values.sum(axis=2), scores.per_image[:, members]) < 1e-11


def test_a_head_with_uniform_attention_reads_a_change_where_it_is(toy_module, images):
    """One patch differs: by source, heads of layer 0 read only it; they write to all tokens."""
    module = toy_module(depth=2)
    with torch.no_grad():
        for block in module.blocks:
            block.attn.qkv.weight[:32].zero_()
            block.attn.qkv.bias[:32].zero_()
    model = load_model(module, dtype="float64")
    x = images(model, 2, 1)
    y = x.clone()
    y[:, :, 4:, :4] += 1  # the third patch
    pairs = ImagePairs.of(model, x, y, LABELS)
    edges = [f"a0.h{head}->m0" for head in range(4)]
    by_token, by_source = (footprint(model, pairs, edges, by=by).values for by in ("token", "source-token"))
    assert not np.delete(by_source, 3, axis=2).any() and by_source[:, :, 3].all()
    assert by_token.all()
    to_input = footprint(model, pairs, ["input->m0", "input->a1.h2<v>", "input->logits"]).values
    assert not np.delete(to_input, 3, axis=2).any() and to_input[:, :2, 3].all()


def test_into_logits_only_the_class_token_counts(toy_vit, images):
    model = toy_vit()
    found = footprint(model, pairs_of(model, images), ["m2->logits", "a1.h0->logits"]).values
    assert found[:, :, 0].all() and not found[:, :, 1:].any()


def test_layers_by_hand(toy_vit, images):
    model = toy_vit()
    edges = ["m0->logits", "input->m1", "input->a1.h0<q>", "a1.h1->a2.h3<v>", "input->logits"]
    found = footprint(model, pairs_of(model, images), edges)
    layers = footprint_by_layer(model, found)
    assert layers.names == ("image", "layer", "token") and layers.axis("layer").labels == (0, 1, 2, "logits")
    expected = [0 * found.values[:, 0], found.values[:, 1:3].sum(1), found.values[:, 3], found.values[:, [0, 4]].sum(1)]
    assert relative(layers.values, np.stack(expected, axis=1)) < 1e-12
    with pytest.raises(InputError, match="expected the footprint of edges"):
        footprint_by_layer(model, layers)


def test_the_kind_reads_all_edges_out_of_input(toy_vit, images):
    model = toy_vit()
    pairs = pairs_of(model, images)
    kind = READOUTS["footprint"]
    found = kind.read(model, measure(model, pairs, "logit"), kind.use(form="block", steps=40))
    assert found.names == ("image", "layer", "token")
    change = (model.logits(pairs.clean) - model.logits(pairs.corrupted))[[0, 1], LABELS].numpy()
    assert np.abs(found.values.sum(axis=(1, 2)) / change - 1).max() < 0.02


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        ([], {}, "edges: expected at least one edge, got none"),
        (["input->m9"], {}, "input->m9"),
        (["input->m0", "input->m0"], {}, "expected different labels"),
        (["input->m0"], {"by": "pixel"}, "by: expected token or source-token, got 'pixel'"),
        (["input->m0"], {"steps": 0}, "steps: expected a whole number"),
        (["input->m0"], {"nodes": 1}, "parameter.*nodes"),
        (["input->m0"], {"metric": "logit-diff"}, "needs a target class"),
    ],
)
def test_bad_requests_raise(toy_vit, images, edges, options, message, unchecked):
    model = toy_vit(depth=2)
    with pytest.raises(InputError, match=message):
        footprint(model, pairs_of(model, images), edges, **options)


def test_circuits_and_pairs_that_do_not_fit_raise(toy_vit, images):
    model, deeper = toy_vit(depth=2), toy_vit(depth=3)
    circuit = Circuit.from_edges(deeper.graph("block"), ["input->m0", "m0->logits"])
    with pytest.raises(InputError, match="expected a circuit over the block form of"):
        footprint(model, pairs_of(model, images), circuit)
    ablated = ImagePairs.of(model, images(model, 2), zero_outputs(model), LABELS)
    with pytest.raises(InputError, match="corrupted: expected images"):
        footprint(model, ablated, ["input->m0"])
