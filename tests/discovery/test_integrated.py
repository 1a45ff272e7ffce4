"""Conductance, gate-IG and EAP-IG (activations) compared with autograd on a separate forward pass; their limits.

The forward pass is head by head, in plain torch, with a gate on every edge; it shares no code with the package.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, ComputationGraph
from circuitstore.discovery import METHODS, estimate_cost, score_edges
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.models import CLEAN, CORRUPTED, CURRENT, PatchedRuns, capture, load_model
from torch import nn

from ..families import build
from ..planted import PLANTED, gate_model, planted_model
from ..reference import LABELS, VARIANTS, Gates, logit, logits_of, relative

METHODS_HERE = (
    "conductance",
    "gate-ig",
    "eap-ig-activations",
    "eap-ig-activations-heads",
    "eap-ig-activations-as-coded",
)


@pytest.fixture(autouse=True)
def _residuals_are_tested_apart():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CircuitStoreWarning)
        yield


@pytest.fixture
def gates(brute_force):
    return lambda model, form, x, y: Gates(brute_force(model.module, model.graph(form)), model.embed(x), model.embed(y))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "form"), [(m, form) for m in METHODS_HERE for form in METHODS[m].forms])
def test_every_form_equals_gates_and_autograd(toy_vit, images, gates, method, form):
    model = toy_vit(1, qk_norm=True, init_values=0.2, depth=2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    found = score_edges(model, pairs, method, form=form, steps=2)
    assert relative(found.per_image, gates(model, form, x, y).expected(method, 2)) < 1e-11


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("method", ["conductance", "gate-ig", "eap-ig-activations"])
def test_every_variant_equals_gates_and_autograd(toy_vit, images, gates, changes, method):
    model = toy_vit(depth=2, **changes)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    found = score_edges(model, pairs, method, form="head", steps=2)
    assert relative(found.per_image, gates(model, "head", x, y).expected(method, 2)) < 1e-11


def test_denoising_moves_a_node_of_the_corrupted_run(toy_vit, images, gates):
    model = toy_vit(depth=2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    options = {"method": "eap-ig-activations", "direction": "denoising"}
    found = score_edges(model, pairs, form="head", steps=2, **options)
    assert relative(found.per_image, gates(model, "head", x, y).own_node(2, direction="denoising")) < 1e-11


def near(images, model):
    """Pairs between which the model is smooth, and the metric's difference between them."""
    x = images(model, 2, 1)
    pairs = ImagePairs.of(model, x, x + 0.3 * images(model, 2, 2), LABELS)
    return pairs, logit(LABELS)(model.logits(pairs.clean) - model.logits(pairs.corrupted)).mean().item()


def falls(error):
    """Assert that twice the steps leave a quarter of the error."""
    return 3.5 < error(6) / error(12) < 4.5


@pytest.mark.parametrize("form", ["split", "attention"])
def test_conductance_conserves_flow(toy_vit, images, form):
    model = toy_vit(3, depth=2)
    pairs, gap = near(images, model)
    graph = model.graph(form)
    scored = {n: score_edges(model, pairs, "conductance", form=form, steps=n) for n in (6, 12)}

    def imbalance(steps):
        """Return the imbalance of the worst component; heads of the `attention` form read through the layer's input."""
        inflow, outflow = scored[steps].inflow.copy(), scored[steps].outflow.copy()
        for fed, head in graph.structural_links:
            outflow[graph.node_index[fed]] += outflow[graph.node_index[head]]
            inflow[graph.node_index[head]] = outflow[graph.node_index[head]]
        return np.abs(inflow - outflow)[1:-1].max()

    def worst_cut(steps):
        found, depth = scored[steps], (graph.sender_depth[graph.edge_sender], graph.receiver_depth[graph.edge_receiver])
        cuts = [found.mean[(depth[0] <= at) & (at < depth[1])].sum() for at in range(2 * graph.n_layers + 1)]
        for layer in range(graph.n_layers if form == "split" else 0):  # and cuts between the heads of a layer
            heads = [graph.node_index[f"a{layer}.h{head}"] for head in range(graph.n_heads)]
            for before in range(2**graph.n_heads):
                chosen = [head for i, head in enumerate(heads) if before >> i & 1]
                cuts.append(cuts[2 * layer] + (found.outflow - found.inflow)[chosen].sum())
        error = np.abs(np.array(cuts) - gap).max()
        assert found.residual_absolute == pytest.approx(error, rel=0, abs=1e-12 * np.abs(found.mean).sum())
        return error

    assert falls(imbalance) and falls(worst_cut)
    assert worst_cut(12) < 1e-3 * abs(gap)


def test_all_edges_of_gate_ig_sum_to_the_metric_s_difference(toy_vit, images):
    model = toy_vit(3)
    pairs, gap = near(images, model)

    def error(steps):
        found = score_edges(model, pairs, "gate-ig", form="block", steps=steps)
        error = abs(found.mean.sum() - gap)
        assert found.residual_absolute == pytest.approx(error, rel=0, abs=1e-12 * np.abs(found.mean).sum())
        return abs(found.mean.sum() - gap)

    assert falls(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "heads", "direction"),
    [
        ("eap-ig-activations", [1, 2, 3, 4], "noising"),
        ("eap-ig-activations", [1, 2, 3, 4], "denoising"),
        ("eap-ig-activations-heads", [2], "noising"),
    ],
)
def test_edges_out_of_a_node_sum_to_its_exact_patch(toy_vit, images, method, heads, direction):
    model = toy_vit(3, depth=2)
    pairs, _ = near(images, model)
    x, y = pairs.clean, pairs.corrupted
    graph, clean, corrupted = model.graph("attention"), capture(model, x), capture(model, y)
    noising = direction == "noising"
    base = PatchedRuns(model, (clean if noising else corrupted).stream, corrupted, clean)

    def patched(senders):
        carries = np.full(graph.n_edges, CURRENT)
        carries[np.isin(graph.edge_sender, senders)] = CORRUPTED if noising else CLEAN
        return logit(LABELS)(base.logits(graph, carries))

    plain = logit(LABELS)(clean.logits if noising else corrupted.logits)
    options = {"method": method, "form": "attention", "direction": direction}
    scored = {n: score_edges(model, pairs, steps=n, **options) for n in (6, 12)}
    for senders in ([0], np.arange(graph.n_senders)[heads], [5]):
        expected = ((plain - patched(senders)) * (1 if noising else -1)).numpy()
        own = np.isin(graph.edge_sender, senders)
        assert falls(lambda steps: np.abs(scored[steps].per_image[:, own].sum(1) - expected).max())  # noqa: B023
    per_layer = graph.n_heads + 1
    heads_of = [list(range(1 + at, per_layer + at)) for at in range(0, graph.n_senders - 1, per_layer)]
    together = [[head] for heads in heads_of for head in heads] if method.endswith("heads") else heads_of
    nodes = [[0], *together, *([head[-1] + 1] for head in heads_of)]
    patches = [float((plain - patched(senders)).mean()) * (1 if noising else -1) for senders in nodes]
    sums = [scored[6].mean[np.isin(graph.edge_sender, senders)].sum() for senders in nodes]
    error = np.abs(np.array(sums) - patches).max()
    assert scored[6].residual_absolute == pytest.approx(error, rel=0, abs=1e-12 * np.abs(logits_of(model, x, y)).max())


@pytest.mark.slow
def test_the_variant_as_coded_does_not_equal_patching(toy_vit, images):
    """The reason for the own-node variant: the sums of this one do not converge to patching."""
    model = toy_vit(3, depth=2)
    pairs, gap = near(images, model)
    found = score_edges(model, pairs, "eap-ig-activations-as-coded", form="block", steps=16)
    assert abs(found.mean[found.graph.edge_sender == 0].sum() - gap) > 0.01 * abs(gap)


@pytest.mark.slow
def test_more_runs_than_are_kept_pending_change_nothing(toy_vit, images, gates):
    model = toy_vit(depth=1)
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    for method in ("eap-ig-activations", "eap-ig-activations-as-coded"):
        found = score_edges(model, pairs, method, steps=11).per_image
        assert relative(found, gates(model, "split", x, y).expected(method, 11)) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS_HERE)
def test_order_and_batches_do_not_matter(toy_vit, images, method):
    model = toy_vit(depth=2)
    x, y, labels = images(model, 5, 1), images(model, 5, 2), torch.arange(5)
    options = {"method": method, "steps": 2, "form": "head"}
    pairs = ImagePairs.of(model, x, y, labels)
    whole = score_edges(model, pairs, execution=Execution(batch_size=5), **options)
    order = torch.tensor([3, 0, 4, 2, 1])
    mixed = ImagePairs.of(model, x[order], y[order], labels[order])
    shuffled = score_edges(model, mixed, execution=Execution(batch_size=2), **options)
    assert relative(shuffled.per_image, whole.per_image[order.numpy()]) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("method", ["conductance", "gate-ig", "eap-ig-activations", "eap-ig-activations-as-coded"])
def test_sums_over_merged_edges_are_the_coarser_form_s_scores(toy_vit, images, method):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    split, *coarser = (score_edges(model, pairs, method, form=form, steps=2) for form in FORMS)
    for found in coarser:
        assert relative(split.project(found.graph.form).per_image, found.per_image) < 1e-11


def test_heads_that_move_separately_do_not_project(toy_vit, images):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [0])
    found = score_edges(model, pairs, "eap-ig-activations-heads", steps=1)
    with pytest.raises(InputError, match="additive"):
        found.project("block")


CORNER = 2**-1.5
"""At the corner of AND and OR two gates in a row, each at α, let a half through: α = 2^−½. What follows is ∫α² dα."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "gate", "expected"),
    [
        ("conductance", "AND", 1 / 2),
        ("conductance", "OR", 1 / 2),
        ("conductance", "ADD", 1),
        ("gate-ig", "AND", (1 - CORNER) / 3),
        ("gate-ig", "OR", CORNER / 3),
        ("gate-ig", "ADD", 1 / 3),
        ("eap-ig-activations", "AND", 1 / 2),
        ("eap-ig-activations", "OR", 1 / 2),
        ("eap-ig-activations", "ADD", 1),
        ("eap-ig-activations-heads", "AND", 1),
        ("eap-ig-activations-heads", "OR", 0),
        ("eap-ig-activations-heads", "ADD", 1),
    ],
)
def test_logic_gates(method, gate, expected):
    model = gate_model(gate)
    x, y = torch.zeros(2, 1, 3, 1, 1, dtype=torch.float64)
    x[:, 0] = 1 if gate == "ADD" else 1 + 1e-9
    pairs = ImagePairs.of(model, x, y, [0])
    found = score_edges(model, pairs, method, steps=50 if method == "gate-ig" else 4)
    edges = [found.graph.index_of(f"a0.h{head}->m0") for head in (0, 1)]
    assert found.mean[edges] == pytest.approx([expected, expected], abs=0.02 if method == "gate-ig" else 1e-6)
    assert found.mean[found.graph.index_of("a0.h2->logits")] == found.mean[found.graph.index_of("a0.h2->m0")] == 0


def test_costs_of_own_node():
    """ViT-B, 5 steps: 25 nodes, followed by 12 2/3 models in total, which run once more each for the patch."""

    def cost(method):
        estimate = estimate_cost(ComputationGraph(12, 12), METHODS.resolve(method, {"steps": 5}), 2)
        return pytest.approx((estimate.forwards, estimate.backwards))

    assert cost("conductance") == (22, 10)
    assert cost("gate-ig") == (14, 10)
    assert cost("eap-ig-activations-as-coded") == (4 + 250, 250)
    assert cost("eap-ig-activations") == (4 + 12 * (12 + 2 / 3), 10 * (12 + 2 / 3))


@pytest.mark.slow
def test_on_a_linear_model_conductance_and_own_node_are_exact_patching(toy_module, images):
    module = toy_module(depth=2, norm_layer=nn.Identity, act_layer=nn.Identity)
    with torch.no_grad():
        for block in module.blocks:  # equal attention everywhere
            block.attn.qkv.weight[:32].zero_()
            block.attn.qkv.bias[:32].zero_()
    model = load_model(module, dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    exact = score_edges(model, pairs, "exact").per_image
    for method in ("conductance", "eap-ig-activations", "eap-ig-activations-heads"):
        found = score_edges(model, pairs, method, steps=2).per_image
        assert relative(found, exact, of=logits_of(model, x, y)) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS_HERE)
def test_a_planted_circuit_is_found_exactly(images, method):
    model = planted_model(0)
    pairs = ImagePairs.of(model, images(model, 4, 0), images(model, 4, 10), [0] * 4)
    scores = score_edges(model, pairs, method, steps=2)
    strength = np.abs(scores.per_image).max(axis=0)
    assert {scores.graph.edge_names[i] for i in np.flatnonzero(strength)} == PLANTED


@pytest.mark.parametrize("method", ["eap-ig", *METHODS_HERE[2:]])
def test_kl_has_no_gradient_on_a_path_of_the_clean_run_only(toy_vit, images, method):
    model = toy_vit(depth=1)
    pairs = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [0])
    right = {"rule": "right"} if "rule" in METHODS[method].params else {}
    with pytest.raises(InputError, match="smallest on the clean run"):
        score_edges(model, pairs, method, metric="kl", steps=1, **right)
    assert np.abs(score_edges(model, pairs, method, metric="kl", steps=2, **right).mean).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rotary, learnt and per head", "DINOv3", "CLIP"])
def test_other_families_equal_gates_and_autograd(images, gates, name):
    model = load_model(build(name), dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    pairs = ImagePairs.of(model, x, y, LABELS)
    for method in METHODS_HERE[:3]:
        found = score_edges(model, pairs, method, form="head", steps=2)
        assert relative(found.per_image, gates(model, "head", x, y).expected(method, 2)) < 1e-11
