"""GradDrop and the QK fix compared with autograd on detached layers and patched attention probabilities."""

import copy

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.circuits.recipe import DIRECTIONS
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.models import load_model
from torch import nn

from ..detached import detached, follow
from ..reference import LABELS, logit, logits_of, relative


def layer_of(graph, node):
    return graph.components[node].layer


def dropped_scores(brute, graph, base, clean, corrupted):
    """Return |∂m/∂gate| with a layer's outputs detached, for each layer in turn: `[layer, image, edge]`."""
    (_, new), (_, old) = (brute.run(stream, lambda _, value: value) for stream in (clean, corrupted))
    sender_layer = [layer_of(graph, node) for node in graph.sender_node]
    found = []
    for layer in range(graph.n_layers):
        gates = torch.zeros(len(base), graph.n_edges, dtype=base.dtype, requires_grad=True)

        def carried(e, value):
            u = graph.edge_sender[e]
            value = value.detach() if sender_layer[u] == layer else value  # noqa: B023
            return value + gates[:, e, None, None] * (new[u] - old[u]).detach()  # noqa: B023

        logits, _ = brute.run(base, carried)
        found.append(torch.autograd.grad(logit(LABELS)(logits).sum(), gates)[0].abs())
    return torch.stack(found).numpy()


@pytest.mark.parametrize(
    ("form", "direction", "mode"),
    [
        *((form, direction, "plain") for form in FORMS for direction in DIRECTIONS),
        ("split", "noising", "relp"),
        ("split", "denoising", "relp-ah"),
        ("split", "noising", "gim"),
        ("attention", "denoising", "relp"),
        ("attention", "noising", "gim"),
    ],
)
def test_grad_drop_is_the_mean_over_other_layers(toy_vit, images, brute_force, form, direction, mode):
    model = toy_vit(1, qk_norm=True, init_values=0.5)
    graph, pairs = model.graph(form), ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    clean, corrupted = model.embed(pairs.clean), model.embed(pairs.corrupted)
    base = clean if direction == "noising" else corrupted
    brute = detached(brute_force, model.module, graph, mode)
    each = dropped_scores(brute, graph, base, clean, corrupted)
    own = np.array([layer_of(graph, node) for node in graph.receiver_node])[graph.edge_receiver]
    others = np.array([[layer != receiver for receiver in own] for layer in range(graph.n_layers)])
    expected = (each * others[:, None]).sum(axis=0) / others.sum(axis=0)
    options = {"form": form, "direction": direction, "gradient": mode}
    found = score_edges(model, pairs, "grad-drop", execution=Execution(batch_size=1), **options)
    assert relative(found.per_image, expected) < 1e-11
    assert not (found.signed or found.additive)
    eap = score_edges(model, pairs, "eap", **options).per_image
    at_the_end = np.array([layer in (None, graph.n_layers - 1) for layer in own])
    assert relative(found.per_image[:, at_the_end], np.abs(eap[:, at_the_end])) < 1e-11
    assert relative(found.per_image[:, ~at_the_end], np.abs(eap[:, ~at_the_end])) > 0.01


class Patterned:
    """`BruteForce` with one head's attention probabilities set from outside."""

    pattern, calls, wanted = None, 0, -1

    def attend(self, q, k, v):
        self.calls += 1
        own = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        if self.calls - 1 == self.wanted:
            self.seen, own = own, own if self.pattern is None else self.pattern
        return own @ v


def fixed_scores(brute, edge, streams, dropped):
    """Return ⟨A − Ã, ∂m/∂A⟩ per image, where Ã is A with one edge patched; layers in `dropped` are detached."""
    graph = brute.graph
    component = graph.components[graph.receiver_node[graph.edge_receiver[edge]]]
    brute.wanted = component.layer * graph.n_heads + component.head
    other = brute.run(streams[1], lambda _, value: value)[1][graph.edge_sender[edge]]

    def pattern(carried):
        brute.calls, brute.pattern = 0, None
        brute.run(streams[0], carried)
        return brute.seen.detach()

    def passes(e, value):
        return value.detach() if layer_of(graph, graph.sender_node[graph.edge_sender[e]]) in dropped else value

    plain = pattern(lambda _, value: value)
    patched = pattern(lambda e, value: other if e == edge else value)
    brute.calls, brute.pattern = 0, plain.clone().requires_grad_()
    metric = logit(LABELS)(brute.run(streams[0], passes)[0]).sum()
    (gradient,) = torch.autograd.grad(metric, brute.pattern, materialize_grads=True)
    return ((plain - patched) * gradient).flatten(1).sum(1).numpy()


@pytest.fixture
def question(toy_vit, images, brute_force):
    """For a direction and a gradient mode: model, pairs, a forward pass with settable attention, and its streams."""

    def ask(direction, mode):
        model = toy_vit(2, qk_norm=True, init_values=0.5)
        x, y = images(model, 2, 1), images(model, 2, 2)
        module = model.module if mode == "plain" else follow(copy.deepcopy(model.module), mode)
        brute = type("Patterned", (Patterned, brute_force), {})(module, model.graph("split"))
        streams = [model.embed(x), model.embed(y)][:: 1 if direction == "noising" else -1]
        return model, ImagePairs.of(model, x, y, LABELS), brute, streams

    return ask


def of_edges(graph, *endings):
    return np.array([name.endswith(endings) for name in graph.edge_names])


@pytest.mark.parametrize("mode", ["plain", "relp"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_qk_fix_is_the_change_of_probabilities_times_their_gradient(question, direction, mode):
    model, pairs, brute, streams = question(direction, mode)
    options = {"direction": direction, "gradient": mode}
    found = score_edges(model, pairs, "qk-fix", execution=Execution(batch_size=4), **options)
    eap = score_edges(model, pairs, "eap", **options)
    into_qk = of_edges(found.graph, "<q>", "<k>")
    assert relative(found.per_image[:, ~into_qk], eap.per_image[:, ~into_qk]) < 1e-12
    sign = 1 if direction == "noising" else -1
    for edge in np.random.default_rng(0).choice(np.flatnonzero(into_qk), 4, replace=False):
        expected = sign * fixed_scores(brute, edge, streams, ())
        assert relative(found.per_image[:, edge], expected, of=found.per_image) < 1e-11


@pytest.mark.parametrize(("direction", "mode"), [("noising", "plain"), ("denoising", "relp")])
def test_atp_star_is_the_mean_of_the_fix_over_the_other_layers(question, direction, mode):
    model, pairs, brute, streams = question(direction, mode)
    options = {"direction": direction, "gradient": mode}
    found = score_edges(model, pairs, "atp-star", execution=Execution(batch_size=4), **options).per_image
    into_qk = of_edges(brute.graph, "<q>", "<k>")
    own = np.array([layer_of(brute.graph, brute.graph.receiver_node[r]) for r in brute.graph.edge_receiver])
    for layer in range(3):
        for edge in np.random.default_rng(layer).choice(np.flatnonzero(into_qk & (own == layer)), 2, replace=False):
            others = [other for other in range(3) if other != layer]
            each = [np.abs(fixed_scores(brute, edge, streams, (other,))) for other in others]
            assert relative(found[:, edge], np.mean(each, axis=0), of=found) < 1e-11


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_fix_is_exact_if_everything_after_the_head_is_linear(toy_module, images, direction):
    """One layer with its first norm and no other nonlinearity: exact patching at q and k, where EAP is far off."""
    module = toy_module(depth=1, act_layer=nn.Identity)
    module.norm = module.blocks[0].norm2 = nn.Identity()
    model = load_model(module, dtype="float64")
    x, y = images(model, 3, 1), images(model, 3, 2)
    pairs = ImagePairs.of(model, x, y, [0, 1, 2])
    fixed, exact, eap = (
        score_edges(model, pairs, method, direction=direction).per_image for method in ("qk-fix", "exact", "eap")
    )
    into_qk = [i for i, name in enumerate(model.graph("split").edge_names) if name.endswith(("<q>", "<k>"))]
    assert relative(fixed[:, into_qk], exact[:, into_qk], of=logits_of(model, x, y)) < 1e-12
    assert relative(eap[:, into_qk], exact[:, into_qk]) > 0.1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_atp_star_combines_both(toy_vit, images, direction):
    """GradDrop at values, MLPs and logits; |QK fix| at q and k of the last layer, which no dropped layer affects."""
    model = toy_vit(2)
    pairs = ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)
    both, dropped, fixed = (
        score_edges(model, pairs, method, direction=direction).per_image
        for method in ("atp-star", "grad-drop", "qk-fix")
    )
    names = model.graph("split").edge_names
    into_qk = np.array([name.endswith(("<q>", "<k>")) for name in names])
    last = into_qk & np.array(["->a2." in name for name in names])
    assert relative(both[:, ~into_qk], dropped[:, ~into_qk]) < 1e-11
    assert relative(both[:, last], np.abs(fixed[:, last])) < 1e-11
    assert relative(both[:, into_qk & ~last], np.abs(fixed[:, into_qk & ~last])) > 0.01


def test_meaningless_questions_raise(toy_vit, images):
    model = toy_vit(depth=1)
    pairs = ImagePairs.of(model, images(model, 1, 1), images(model, 1, 2), [0])
    for method in ("grad-drop", "atp-star"):
        with pytest.raises(InputError, match=f"method {method!r} averages .* this model has one layer"):
            score_edges(model, pairs, method)
    with pytest.raises(InputError, match="have rules for the softmax, which this method recomputes"):
        score_edges(model, pairs, "qk-fix", gradient="gim")
    with pytest.raises(InputError, match="form for method 'qk-fix'"):
        score_edges(model, pairs, "qk-fix", form="head")
    for method in ("qk-fix", "grad-drop"):
        with pytest.raises(InputError, match="its gradient is zero there"):
            score_edges(model, pairs, method, metric="kl")
