"""GradDrop and the QK fix: gates and autograd with layers detached, attention probabilities patched by hand, limits."""

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError
from circuitstore.models import load_model
from torch import nn

from .test_eap_ig import LABELS, logit, relative


def layer_of(graph, node):
    return graph.components[node].layer


def dropped_scores(brute, graph, base, clean, corrupted):
    """|∂m/∂gate| with what a layer's senders write detached, for each layer in turn: `[layer, image, edge]`."""
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


@pytest.mark.parametrize("direction", ["noising", "denoising"])
@pytest.mark.parametrize("form", FORMS)
def test_grad_drop_is_the_mean_over_other_layers(toy_vit, images, brute_force, form, direction):
    model = toy_vit(1, qk_norm=True, init_values=0.5)
    graph, x, y = model.graph(form), images(model, 2, 1), images(model, 2, 2)
    clean, corrupted = model.embed(x), model.embed(y)
    base = clean if direction == "noising" else corrupted
    each = dropped_scores(brute_force(model.module, graph), graph, base, clean, corrupted)
    own = np.array([layer_of(graph, node) for node in graph.receiver_node])[graph.edge_receiver]
    others = np.array([[layer != receiver for receiver in own] for layer in range(graph.n_layers)])
    expected = (each * others[:, None]).sum(axis=0) / others.sum(axis=0)
    found = score_edges(model, x, y, LABELS, method="grad-drop", form=form, direction=direction, batch_size=1)
    assert relative(found.per_image, expected) < 1e-11
    assert not (found.signed or found.additive)
    eap = score_edges(model, x, y, LABELS, method="eap", form=form, direction=direction).per_image
    at_the_end = np.array([layer in (None, graph.n_layers - 1) for layer in own])
    assert found.per_image[:, at_the_end] == pytest.approx(np.abs(eap[:, at_the_end]), rel=1e-11, abs=1e-14)
    assert relative(found.per_image[:, ~at_the_end], np.abs(eap[:, ~at_the_end])) > 0.01


class Patterned:
    """Over `BruteForce`: one head's attention probabilities are given from outside."""

    pattern, calls, wanted = None, 0, -1

    def attend(self, q, k, v):
        self.calls += 1
        own = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        if self.calls - 1 == self.wanted:
            self.seen, own = own, own if self.pattern is None else self.pattern
        return own @ v


@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_the_qk_fix_is_the_change_of_probabilities_times_their_gradient(toy_vit, images, brute_force, direction):
    model = toy_vit(2, qk_norm=True, init_values=0.5)
    graph, x, y = model.graph("split"), images(model, 2, 1), images(model, 2, 2)
    found = score_edges(model, x, y, LABELS, method="qk-fix", direction=direction, batch_size=4)
    eap = score_edges(model, x, y, LABELS, method="eap", direction=direction)
    into_qk = np.array([name.endswith(("<q>", "<k>")) for name in graph.edge_names])
    assert relative(found.per_image[:, ~into_qk], eap.per_image[:, ~into_qk]) < 1e-12
    streams = [model.embed(x), model.embed(y)][:: 1 if direction == "noising" else -1]
    for edge in np.random.default_rng(0).choice(np.flatnonzero(into_qk), 6, replace=False):
        brute = type("Patterned", (Patterned, brute_force), {})(model.module, graph)
        component = graph.components[graph.receiver_node[graph.edge_receiver[edge]]]
        brute.wanted = component.layer * graph.n_heads + component.head
        other = brute.run(streams[1], lambda _, value: value)[1][graph.edge_sender[edge]]

        def pattern(carried, brute=brute):
            brute.calls = 0
            brute.run(streams[0], carried)
            return brute.seen

        plain = pattern(lambda _, value: value)
        patched = pattern(lambda e, value: other if e == edge else value)  # noqa: B023
        brute.calls, brute.pattern = 0, plain.clone().requires_grad_()
        metric = logit(LABELS)(brute.run(streams[0], lambda _, value: value)[0]).sum()
        (gradient,) = torch.autograd.grad(metric, brute.pattern)
        expected = ((plain - patched) * gradient).flatten(1).sum(1) * (1 if direction == "noising" else -1)
        assert found.per_image[:, edge] == pytest.approx(expected.numpy(), rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_where_all_behind_a_head_is_linear_the_fix_is_exact(toy_module, images, direction):
    """One layer, its first norm live, no other norm, no activation: at q and k exact patching, where EAP is far off."""
    module = toy_module(depth=1, act_layer=nn.Identity)
    module.norm = module.blocks[0].norm2 = nn.Identity()
    model = load_model(module, dtype="float64")
    x, y = images(model, 3, 1), images(model, 3, 2)
    fixed, exact, eap = (
        score_edges(model, x, y, [0, 1, 2], method=method, direction=direction).per_image
        for method in ("qk-fix", "exact", "eap")
    )
    into_qk = [i for i, name in enumerate(model.graph("split").edge_names) if name.endswith(("<q>", "<k>"))]
    assert relative(fixed[:, into_qk], exact[:, into_qk]) < 1e-12
    assert relative(eap[:, into_qk], exact[:, into_qk]) > 0.1


@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_atp_star_joins_both(toy_vit, images, direction):
    """At values, MLPs and logits it is GradDrop; at q and k of the last layer, which none drops, |QK fix|."""
    model = toy_vit(2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    both, dropped, fixed = (
        score_edges(model, x, y, LABELS, method=method, direction=direction).per_image
        for method in ("atp-star", "grad-drop", "qk-fix")
    )
    names = model.graph("split").edge_names
    into_qk = np.array([name.endswith(("<q>", "<k>")) for name in names])
    last = into_qk & np.array(["->a2." in name for name in names])
    assert both[:, ~into_qk] == pytest.approx(dropped[:, ~into_qk], rel=1e-11, abs=1e-14)
    assert both[:, last] == pytest.approx(np.abs(fixed[:, last]), rel=1e-10, abs=1e-14)
    assert relative(both[:, into_qk & ~last], np.abs(fixed[:, into_qk & ~last])) > 0.01


def test_what_means_nothing_is_refused_by_name(toy_vit, images):
    model = toy_vit(depth=1)
    x, y = images(model, 1, 1), images(model, 1, 2)
    for method in ("grad-drop", "atp-star"):
        with pytest.raises(InputError, match="this model has one layer only"):
            score_edges(model, x, y, [0], method=method)
    with pytest.raises(InputError, match="have rules for the softmax, which this method recomputes"):
        score_edges(model, x, y, [0], method="qk-fix", gradient="gim")
    with pytest.raises(InputError, match="form for method 'qk-fix'"):
        score_edges(model, x, y, [0], method="qk-fix", form="head")
    for method in ("qk-fix", "grad-drop"):
        with pytest.raises(InputError, match="its gradient is zero there"):
            score_edges(model, x, y, [0], method=method, metric="kl")
