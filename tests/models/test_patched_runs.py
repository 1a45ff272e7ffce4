"""A patched run equals the brute-force forward with one input per receiver, for every supported variant."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.errors import InputError
from circuitstore.models import CLEAN, CORRUPTED, CURRENT, PatchedRuns, capture, load_model
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers.mlp import SwiGLU
from timm.models.deit import VisionTransformerDistilled
from torch import nn

VARIANTS = {
    "plain": {},
    "LayerScale": {"init_values": 0.1},
    "q and k norm": {"qk_norm": True},
    "no qkv bias": {"qkv_bias": False},
    "no projection bias": {"proj_bias": False},
    "register tokens": {"reg_tokens": 2},
    "class token without position": {"no_embed_class": True, "reg_tokens": 1},
    "distillation token": {"factory": VisionTransformerDistilled},
    "norm_pre": {"pre_norm": True},
    "average pooling, fc_norm": {"global_pool": "avg"},
    "average pooling, no class token": {"global_pool": "avg", "class_token": False, "fc_norm": False},
    "map pooling": {"global_pool": "map", "class_token": False},
    "RMSNorm": {"norm_layer": "rmsnorm"},
    "no final norm": {"final_norm": False},
    "gated MLP with its own norm": {"mlp_layer": SwiGLU, "scale_mlp_norm": True},
    "dynamic image size": {"dynamic_img_size": True},
    "no position embedding": {"pos_embed": "none"},
    "no norms at all": {"norm_layer": nn.Identity},
    "dropout everywhere": {"drop_rate": 0.5, "proj_drop_rate": 0.5, "attn_drop_rate": 0.5, "drop_path_rate": 0.5},
}


def assert_close(found, expected, tolerance=1e-12):
    assert float((found - expected).abs().max() / expected.abs().max()) < tolerance


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_equals_brute_force(toy_vit, images, brute_force, changes):
    model = toy_vit(**changes)
    x, y = images(model, 2, 1), images(model, 2, 2)
    clean, corrupted = model.embed(x), capture(model, y)
    graph = model.graph("split")
    rng = np.random.default_rng(0)
    brute = brute_force(model.module, graph)
    for density in (0.05, 0.5, 0.95):
        mask = rng.random(graph.n_edges) < density
        found = PatchedRuns(model, clean, corrupted).logits(graph, mask)
        assert_close(found, brute.masked(clean, corrupted.stream, mask))
    assert_close(PatchedRuns(model, clean, corrupted).logits(graph, np.ones(graph.n_edges, bool)), model.logits(x))
    assert_close(PatchedRuns(model, clean, corrupted).logits(graph, np.zeros(graph.n_edges, bool)), model.logits(y))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_twenty_random_masks_on_a_stock_timm_model(timm_vit, images, brute_force, form):
    model, graph = timm_vit, timm_vit.graph(form)
    clean, corrupted = model.embed(images(model, 1, 1)), capture(model, images(model, 1, 2))
    rng = np.random.default_rng(0)
    brute = brute_force(model.module, graph)
    for density in rng.random(20 if form == "split" else 5):
        mask = rng.random(graph.n_edges) < density
        found = PatchedRuns(model, clean, corrupted).logits(graph, mask)
        assert_close(found, brute.masked(clean, corrupted.stream, mask))


@pytest.mark.parametrize("form", FORMS)
def test_edges_carry_current_clean_or_corrupted_values(toy_vit, images, brute_force, form):
    model = toy_vit()
    graph = model.graph(form)
    stream, clean, corrupted = model.embed(images(model, 2, 1)), *(capture(model, images(model, 2, s)) for s in (2, 3))
    carries = np.random.default_rng(0).integers(0, 3, graph.n_edges)
    brute = brute_force(model.module, graph)
    (_, new), (_, old) = (brute.run(run.stream, lambda _, value: value) for run in (clean, corrupted))

    def carried(edge, value):
        sender = graph.edge_sender[edge]
        return {CORRUPTED: old[sender], CURRENT: value, CLEAN: new[sender]}[carries[edge]]

    found = PatchedRuns(model, stream, corrupted, clean).logits(graph, carries)
    assert_close(found, brute.run(stream, carried)[0])


def test_denoising_one_edge_changes_the_corrupted_run_by_its_clean_value(toy_vit, images, brute_force):
    """With all other edges current in a corrupted run, a restored edge changes everything after it."""
    model = toy_vit()
    graph = model.graph("split")
    clean, corrupted = (capture(model, images(model, 2, s)) for s in (1, 2))
    brute = brute_force(model.module, graph)
    _, new = brute.run(clean.stream, lambda _, value: value)
    for name in ("input->a0.h1<v>", "a0.h1->m1", "m2->logits"):
        edge = graph.index_of(name)
        carries = np.full(graph.n_edges, CURRENT)
        carries[edge] = CLEAN
        restored = new[graph.edge_sender[edge]]
        found = PatchedRuns(model, corrupted.stream, corrupted, clean).logits(graph, carries)
        expected, _ = brute.run(corrupted.stream, lambda e, value: restored if e == edge else value)  # noqa: B023
        assert_close(found, expected)
        assert (found - corrupted.logits).abs().max() > 1e-6


def test_a_run_does_not_mix_images(toy_vit, images):
    model = toy_vit()
    graph = model.graph("split")
    mask = np.random.default_rng(0).random(graph.n_edges) < 0.5
    x, y = images(model, 4, 1), images(model, 4, 2)
    together = PatchedRuns(model, model.embed(x), capture(model, y)).logits(graph, mask)
    separate = [
        PatchedRuns(model, model.embed(x[i : i + 1]), capture(model, y[i : i + 1])).logits(graph, mask)
        for i in range(4)
    ]
    assert_close(together, torch.cat(separate))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    depth=st.integers(1, 3),
    heads=st.integers(1, 4),
    d_head=st.integers(1, 5),
    form=st.sampled_from(FORMS),
    reg_tokens=st.integers(0, 2),
    density=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_any_shape_equals_brute_force(
    toy_vit, images, brute_force, depth, heads, d_head, form, reg_tokens, density, seed
):
    model = toy_vit(seed, depth=depth, num_heads=heads, embed_dim=heads * d_head + heads, reg_tokens=reg_tokens)
    graph = model.graph(form)
    clean, corrupted = model.embed(images(model, 1, seed)), capture(model, images(model, 1, seed + 1))
    mask = np.random.default_rng(seed).random(graph.n_edges) < density
    found = PatchedRuns(model, clean, corrupted).logits(graph, mask)
    expected = brute_force(model.module, graph).masked(clean, corrupted.stream, mask)
    assert (found - expected).abs().max() < 1e-12 * max(1, expected.abs().max(), clean.abs().max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_lower_precision_is_close(toy_module, images, dtype, tolerance):
    exact, low = load_model(toy_module(), dtype="float64"), load_model(toy_module(), dtype=dtype)
    graph = exact.graph("split")
    mask = np.random.default_rng(0).random(graph.n_edges) < 0.5
    x, y = images(exact, 4, 1), images(exact, 4, 2)
    expected, found = (PatchedRuns(m, m.embed(x), capture(m, y)).logits(graph, mask) for m in (exact, low))
    assert_close(found.double(), expected, tolerance)


def test_runs_share_buffers_but_no_values(toy_vit, images):
    """Consecutive runs of circuits equal separate runs."""
    model = toy_vit()
    rng = np.random.default_rng(0)
    stream, corrupted = model.embed(images(model, 2, 1)), capture(model, images(model, 2, 2))
    circuits = [(graph := model.graph(form), rng.random(graph.n_edges) < 0.7) for form in (*FORMS, *FORMS)]
    runs = PatchedRuns(model, stream, corrupted)
    together = [runs.logits(*circuit) for circuit in circuits]
    for circuit, found in zip(circuits, together, strict=True):
        assert torch.equal(found, PatchedRuns(model, stream, corrupted).logits(*circuit))


def test_values_that_do_not_fit_raise(toy_vit, images):
    model = toy_vit()
    graph = model.graph("split")
    run = capture(model, images(model))
    with pytest.raises(InputError, match="262"):
        PatchedRuns(model, run.stream, run).logits(graph, np.ones(7, bool))
    with pytest.raises(InputError, match="no clean run"):
        PatchedRuns(model, run.stream, run).logits(graph, np.full(graph.n_edges, CLEAN))
