"""Scores of every edge compared with gates and autograd; identities; logic gates; a planted circuit."""

import warnings

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.discovery import score_edges
from circuitstore.errors import CircuitStoreWarning
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.models import PatchedRuns, capture, load_model
from torch import nn

from ..reference import LABELS, VARIANTS, blind, logit, logits_of, points, relative, unseen


@pytest.fixture(autouse=True)
def _residuals_are_tested_apart():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)
        yield


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_equals_gates_and_autograd(toy_vit, images, brute_force, changes):
    model = toy_vit(**changes)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    found = score_edges(model, pairs, steps=2, rule="midpoint").per_image
    brute = brute_force(model.module, model.graph("split"))
    expected = brute.scores(model.embed(x), model.embed(y), logit(LABELS), [0.25, 0.75])
    assert relative(found, expected) < 1e-11


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("method", "params"),
    [("eap", {}), *(("eap-ig", {"steps": 3, "rule": rule}) for rule in ("left", "right", "midpoint"))],
)
def test_every_form_and_rule_equals_gates_and_autograd(toy_vit, images, brute_force, form, method, params):
    model = toy_vit(1, qk_norm=True, init_values=0.2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    at = points(params["steps"], params["rule"]) if params else [1.0]
    expected = brute_force(model.module, model.graph(form)).scores(model.embed(x), model.embed(y), logit(LABELS), at)
    found = score_edges(model, pairs, method, form=form, **params)
    assert relative(found.per_image, expected) < 1e-11
    assert relative(found.mean, expected.mean(axis=0)) < 1e-11


@pytest.mark.slow
def test_a_timm_model_with_target_minus_true(timm_vit, images, brute_force):
    x, y = images(timm_vit, 1, 1), images(timm_vit, 1, 2)
    pairs = ImagePairs.of(timm_vit, x, y, labels=[1], targets=[4])
    found = score_edges(timm_vit, pairs, "eap", metric="logit-diff", form="head").per_image
    brute = brute_force(timm_vit.module, timm_vit.graph("head"))
    expected = brute.scores(timm_vit.embed(x), timm_vit.embed(y), lambda logits: logits[:, 4] - logits[:, 1], [1.0])
    assert relative(found, expected) < 1e-11


def test_more_steps_than_are_kept_pending_change_nothing(toy_vit, images, brute_force):
    model = toy_vit()
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    found = score_edges(model, pairs, steps=19, rule="left").per_image
    brute = brute_force(model.module, model.graph("split"))
    assert relative(found, brute.scores(model.embed(x), model.embed(y), logit(LABELS), points(19, "left"))) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", ["left", "midpoint"])
def test_batches_and_order_do_not_matter(toy_vit, images, form, rule):
    model = toy_vit()
    x, y, labels = images(model, 7, 1), images(model, 7, 2), torch.arange(7) % 5
    options = {"form": form, "rule": rule}
    pairs = ImagePairs.of(model, x, y, labels)
    whole = score_edges(model, pairs, execution=Execution(batch_size=7), **options)
    parts = score_edges(model, pairs, execution=Execution(batch_size=3), **options)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    mixed = ImagePairs.of(model, x[order], y[order], labels[order])
    shuffled = score_edges(model, mixed, execution=Execution(batch_size=2), **options)
    assert relative(parts.per_image, whole.per_image) < 1e-10
    assert relative(shuffled.per_image, whole.per_image[order.numpy()]) < 1e-10
    assert relative(shuffled.mean, whole.mean) < 1e-10


@pytest.mark.parametrize("method", ["eap", "eap-ig"])
def test_without_contrast_scores_are_exactly_zero(toy_module, images, method):
    model = load_model(blind(toy_module()), dtype="float64")
    x = images(model, 2)
    pairs = ImagePairs.of(model, x, unseen(x), LABELS)
    found = score_edges(model, pairs, method)
    assert np.abs(found.per_image).max() == 0
    assert found.residual is None


@pytest.mark.parametrize("form", FORMS)
def test_coarser_forms_are_sums_of_finer_ones(toy_vit, images, form):
    model = toy_vit()
    pairs = ImagePairs.of(model, images(model, 3, 1), images(model, 3, 2), [0, 1, 2])
    split = score_edges(model, pairs)
    found = score_edges(model, pairs, form=form)
    assert relative(split.project(form).per_image, found.per_image) < 1e-11


def test_a_gate_s_derivative_is_a_finite_difference(toy_vit, images, brute_force):
    model = toy_vit()
    graph, x, y = model.graph("split"), images(model, 1, 1), images(model, 1, 2)
    scores = score_edges(model, ImagePairs.of(model, x, y, [1]), "eap").mean
    brute = brute_force(model.module, graph)
    (_, new), (_, old) = (brute.run(model.embed(i), lambda _, value: value) for i in (x, y))
    for edge in np.argsort(-np.abs(scores))[:5]:
        moved = 1e-6 * (new[graph.edge_sender[edge]] - old[graph.edge_sender[edge]])
        up, down = (
            brute.run(model.embed(x), lambda e, value: value + sign * moved if e == edge else value)[0]  # noqa: B023
            for sign in (1, -1)
        )
        assert float(up[0, 1] - down[0, 1]) / 2e-6 == pytest.approx(scores[edge], rel=1e-6)


def through_stock_blocks(model, stream):
    """Run a timm model, and return what it reads and sends per layer with the metric's gradient at all of these.

    Reads are the streams before norm1, norm2 and the last norm, and the fused qkv. Sends are the heads' inputs of the
    output projection and the MLP's output.
    """
    seen, handles = {}, []

    def tap(module, name, side):
        def hook(_, args, out=None):
            value = args[0] if side == "in" else out
            seen[name] = value.view_as(value) if side == "in" else value
            seen[name].requires_grad or seen[name].requires_grad_()  # pyright: ignore[reportUnusedExpression]
            return (seen[name],) if side == "in" else None

        register = module.register_forward_pre_hook if side == "in" else module.register_forward_hook
        handles.append(register(hook))

    for layer, block in enumerate(model.module.blocks):
        for name, module, side in (
            ("attention", block.norm1, "in"), ("mlp", block.norm2, "in"), ("qkv", block.attn.qkv, "out"),
            ("heads", block.attn.proj, "in"), ("mlp out", block.ls2, "out"),
        ):  # fmt: skip
            tap(module, (name, layer), side)
    tap(model.module.norm, ("logits", None), "in")
    logits = model.readout(model.through_blocks(stream))
    for handle in handles:
        handle.remove()
    return seen, logit(LABELS)(logits).sum()


@pytest.mark.parametrize(
    ("method", "params", "at"),
    [("eap", {}, [1.0]), ("eap", {"direction": "denoising"}, [0.0]), ("eap-ig", {"steps": 3}, points(3, "midpoint"))],
)
def test_sums_over_edges_are_node_and_receiver_scores(toy_vit, images, method, params, at):
    """Σ_receivers = ⟨Δ_u, ∂m/∂o_u⟩ and Σ_senders = ⟨Σ Δ_u, g_v⟩, on a timm model with autograd only."""
    model = toy_vit(1, qk_norm=True, init_values=0.4)
    graph, x, y = model.graph("split"), images(model, 2, 1), images(model, 2, 2)
    clean, corrupted = model.embed(x), model.embed(y)
    (new, _), (old, _) = through_stock_blocks(model, clean), through_stock_blocks(model, corrupted)
    moved = {name: (new[name] - old[name]).detach() for name in new} | {"input": clean - corrupted}
    senders, receivers = np.zeros((2, graph.n_senders)), np.zeros((2, graph.n_receivers))
    for point in at:
        stream = torch.lerp(corrupted, clean, point).requires_grad_()
        seen, metric = through_stock_blocks(model, stream)
        slopes = dict(zip([*seen, "input"], torch.autograd.grad(metric, [*seen.values(), stream]), strict=True))
        for u, name in enumerate(graph.senders):
            node = graph.components[graph.sender_node[u]]
            where = name if node.kind == "input" else ("mlp out" if node.kind == "mlp" else "heads", node.layer)
            part = slice(None) if node.head is None else slice(4 * node.head, 4 * node.head + 4)
            senders[:, u] += (moved[where] * slopes[where])[..., part].sum((1, 2)).numpy() / len(at)
        for v, name in enumerate(graph.receivers):
            node = graph.components[graph.receiver_node[v]]
            where = (node.kind if node.head is None else "attention", node.layer)
            slope = slopes[where]
            if node.head is not None:
                rows = torch.zeros(48)
                first = 16 * "qkv".index(name[-2]) + 4 * node.head
                rows[first : first + 4] = 1
                read = seen[where].detach().requires_grad_()
                block = model.module.blocks[node.layer]
                (slope,) = torch.autograd.grad(
                    block.attn.qkv(block.norm1(read)), read, slopes["qkv", node.layer] * rows
                )
            receivers[:, v] += (moved[where] * slope).sum((1, 2)).numpy() / len(at)
    found = score_edges(model, ImagePairs.of(model, x, y, LABELS), method, **params).per_image
    for each, expected in ((graph.edge_sender, senders), (graph.edge_receiver, receivers)):
        sums = np.stack([found[:, each == i].sum(axis=1) for i in range(expected.shape[1])], axis=1)
        assert relative(sums, expected) < 1e-11
        assert np.abs(expected[:, 1:-1]).min(axis=0).max() > 0


@pytest.mark.slow
def test_eap_ig_converges_to_the_metric_s_difference(toy_vit, images):
    """Halving the step halves the left rule's error and quarters the midpoint's."""
    model = toy_vit(3)
    x = images(model, 2, 1)
    y = x + 0.3 * images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    total = logit(LABELS)(model.logits(x) - model.logits(y)).mean().item()

    def error(steps, rule):
        found = score_edges(model, pairs, steps=steps, rule=rule, form="block")
        rounding = 1e-12 * np.abs(found.mean).sum()
        assert found.residual_absolute == pytest.approx(abs(out_of_input(found) - total), rel=0, abs=rounding)
        return abs(out_of_input(found) - total)

    assert 1.8 < error(16, "left") / error(32, "left") < 2.2
    assert 1.8 < error(16, "right") / error(32, "right") < 2.2
    assert 3.5 < error(16, "midpoint") / error(32, "midpoint") < 4.5


def out_of_input(scores):
    return scores.mean[scores.graph.edge_sender == 0].sum()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["eap", "eap-ig"])
def test_on_a_linear_model_scores_are_exact_patching(toy_module, images, method):
    module = toy_module(norm_layer=nn.Identity, act_layer=nn.Identity)
    with torch.no_grad():
        for block in module.blocks:  # equal attention everywhere
            block.attn.qkv.weight[:32].zero_()
            block.attn.qkv.bias[:32].zero_()
    model = load_model(module, dtype="float64")
    graph, x, y = model.graph("split"), images(model, 2, 1), images(model, 2, 2)
    stream, reference = model.embed(x), capture(model, y)
    scores = score_edges(model, ImagePairs.of(model, x, y, LABELS), method).per_image

    def without(edge):
        return PatchedRuns(model, stream, reference).logits(graph, np.arange(graph.n_edges) != edge)

    full = logit(LABELS)(model.logits(x))
    exact = torch.stack([full - logit(LABELS)(without(edge)) for edge in range(graph.n_edges)], dim=1)
    subtracted = logits_of(model, x, y)
    assert relative(scores, exact.numpy(), of=subtracted) < 1e-12
    into_logits = scores[:, graph.edge_receiver == graph.n_receivers - 1].sum(axis=1)
    assert relative(into_logits, (full - logit(LABELS)(model.logits(y))).numpy(), of=subtracted) < 1e-12
