"""Scores by gradient mode compared with gates and autograd on a forward with parts detached by hand."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.discovery import METHODS, score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import ImagePairs
from circuitstore.models import load_model
from timm.layers.mlp import SwiGLU
from torch import nn

from ..detached import detached
from ..planted import PLANTED, planted_model
from ..reference import LABELS, Gates, logit, logits_of, points, relative

MODES = ("relp", "relp-ah", "gim")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_eap_ig_of_every_mode_and_form_equals_gates_and_detached_parts(toy_vit, images, brute_force, form, mode):
    model = toy_vit(1, depth=2, qk_norm=True, init_values=0.2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    brute = detached(brute_force, model.module, model.graph(form), mode)
    expected = brute.scores(model.embed(x), model.embed(y), logit(LABELS), points(2, "left"))
    found = score_edges(model, pairs, form=form, gradient=mode, steps=2, rule="left")
    assert relative(found.per_image, expected) < 1e-11
    assert found.residual is None
    into_queries = [i for i, name in enumerate(found.graph.edge_names) if name.endswith(("<q>", "<k>"))]
    assert (np.abs(found.mean[into_queries]).max(initial=0) > 0) == (form == "split" and mode != "relp-ah")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "changes",
    [{"norm_layer": "rmsnorm"}, {"mlp_layer": SwiGLU}, {"global_pool": "map", "class_token": False}],
    ids=["RMSNorm", "gated MLP", "map pooling"],
)
def test_eap_of_other_models(toy_vit, images, brute_force, changes, mode):
    model = toy_vit(**changes)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    brute = detached(brute_force, model.module, model.graph("split"), mode)
    expected = brute.scores(model.embed(x), model.embed(y), logit(LABELS), [0.0])
    found = score_edges(model, pairs, "eap", gradient=mode, direction="denoising")
    assert relative(found.per_image, expected) < 1e-11


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("conductance", "split"),
        ("conductance", "attention"),
        ("gate-ig", "split"),
        ("gate-ig", "attention"),
        ("eap-ig-activations", "split"),
        ("eap-ig-activations-heads", "head"),
    ],
)
@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
def test_integrals_of_every_mode_equal_gates_and_detached_parts(toy_vit, images, brute_force, method, form, mode):
    model = toy_vit(1, depth=2, num_heads=2, qk_norm=True, init_values=0.2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs, steps = ImagePairs.of(model, x, y, LABELS), 1 if "activations" in method else 2
    brute = detached(brute_force, model.module, model.graph(form), mode)
    expected = Gates(brute, model.embed(x), model.embed(y)).expected(method, steps)
    found, plain = (
        score_edges(model, pairs, method, form=form, gradient=gradient, steps=steps).per_image
        for gradient in (mode, "plain")
    )
    assert relative(found, expected) < 1e-11
    assert relative(plain, expected) > 0.01


@pytest.mark.parametrize("mode", ["relp", "relp-ah"])
def test_relp_on_a_linear_model_is_exact_patching(toy_module, images, mode):
    module = toy_module(norm_layer=nn.Identity, act_layer=nn.Identity, depth=2)
    with torch.no_grad():
        for block in module.blocks:  # equal attention everywhere
            block.attn.qkv.weight[:32].zero_()
            block.attn.qkv.bias[:32].zero_()
    model = load_model(module, dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    found, exact = score_edges(model, pairs, "eap", gradient=mode), score_edges(model, pairs, "exact")
    assert relative(found.per_image, exact.per_image, of=logits_of(model, x, y)) < 1e-12


@pytest.mark.parametrize(
    ("method", "params"),
    [*(("eap", {"gradient": mode}) for mode in MODES), ("grad-drop", {}), ("qk-fix", {}), ("atp-star", {})],
)
def test_only_planted_edges_have_scores(images, method, params):
    model = planted_model(0)
    pairs = ImagePairs.of(model, images(model, 4, 0), images(model, 4, 10), [0] * 4)
    scores = score_edges(model, pairs, method, **params)
    strength = np.abs(scores.per_image).max(axis=0)
    names = {scores.graph.edge_names[i] for i in np.flatnonzero(strength)}
    assert names == PLANTED


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
def test_every_method_takes_every_mode_or_raises_with_the_reason(toy_vit, images, method):
    """Every supported mode gives different scores."""
    model, facts = toy_vit(1, depth=2, num_heads=2), METHODS[method]
    pairs = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [1])
    few = {name: value for name, value in {"steps": 1, "fraction": 0.9}.items() if name in facts.params}

    def scores(gradient):
        return score_edges(model, pairs, method, form=facts.forms[-1], gradient=gradient, **few).mean

    if "gradient" not in facts.params:
        for mode in MODES:
            with pytest.raises(InputError, match=f"method '{method}': it has no parameter 'gradient': .* gradient"):
                scores(mode)
        return
    plain = scores("plain")
    without_softmax = method in ("qk-fix", "atp-star")
    for mode in MODES:
        if mode == "relp" or not without_softmax:
            assert relative(scores(mode), plain) > 1e-3
            continue
        said = f"method '{method}': gradient: expected plain or relp .relp-ah and gim .*, got '{mode}'"
        with pytest.raises(InputError, match=said):
            scores(mode)


def test_an_unknown_mode_raises(toy_vit, images):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    with pytest.raises(InputError, match="method 'eap': gradient: expected plain or relp or relp-ah or gim, got 'lrp'"):
        score_edges(model, pairs, "eap", gradient="lrp")
