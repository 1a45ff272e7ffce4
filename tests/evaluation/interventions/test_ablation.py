"""Ablation of edges and components, compared with brute force and with patched runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, Form
from circuitstore.errors import InputError
from circuitstore.evaluation.interventions import ablate_components, ablate_edges
from circuitstore.models import (
    ConstantOutputs,
    PatchedRuns,
    ViT,
    capture,
    constant_run,
    drawn_outputs,
    mean_outputs,
    zero_outputs,
)
from torch import Tensor

VALUES = {
    "zero": lambda model, images: zero_outputs(model),
    "mean": lambda model, images: mean_outputs(model, images.split(2)),
    "drawn": lambda model, images: drawn_outputs(model, images, seed=3, batch_size=2),
}


def outputs(model: ViT, form: Form, constants: ConstantOutputs) -> list[Tensor]:
    """Return the constant of each sender of a form."""
    found = [constants.sent.stream]
    for layer, writing in enumerate(model.writings):
        heads = torch.einsum("bthk,hkd->hbtd", constants.sent.heads[layer].unflatten(-1, writing.shape[:2]), writing)
        found += [heads.sum(0)] if form == "block" else list(heads)
        found.append(constants.sent.mlp_out[layer])
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES)
def test_ablated_edges_equal_brute_force(toy_vit, images, brute_force, value: str, form: Form) -> None:
    model = toy_vit(depth=2, init_values=0.3)
    graph, pixels = model.graph(form), images(model, 3)
    constants = VALUES[value](model, images(model, 5, seed=1))
    chosen = np.random.default_rng(0).random(graph.n_edges) < 0.3
    constant = outputs(model, form, constants)

    def carried(edge: int, output: Tensor) -> Tensor:
        return constant[graph.edge_sender[edge]].expand_as(output) if chosen[edge] else output

    expected, _ = brute_force(model.module, graph).run(model.embed(pixels), carried)
    edit = ablate_edges(model, [graph.edge_names[i] for i in np.flatnonzero(chosen)], constants, form=form)
    with edit.applied(model):
        found = model.logits(pixels)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(edit.wrapped(model)(pixels).detach(), found)


def test_ablating_every_edge_into_logits_is_the_constant_runs_readout(toy_vit, images) -> None:
    model = toy_vit()
    constants, pixels = mean_outputs(model, [images(model, 5, seed=1)]), images(model, 3)
    graph = model.graph("split")
    edit = ablate_edges(model, [name for name in graph.edge_names if name.endswith("->logits")], constants)
    with edit.applied(model):
        found = model.logits(pixels)
    torch.testing.assert_close(found, constant_run(model, constants, 3).logits, rtol=1e-11, atol=1e-11)


def test_the_complement_of_a_circuit_ablated_is_its_patched_run(toy_vit, images) -> None:
    model = toy_vit()
    constants, pixels, graph = zero_outputs(model), images(model, 3), model.graph("split")
    kept = np.random.default_rng(1).random(graph.n_edges) < 0.5
    edit = ablate_edges(model, [graph.edge_names[i] for i in np.flatnonzero(~kept)], constants)
    with edit.applied(model):
        found = model.logits(pixels)
    expected = PatchedRuns(model, model.embed(pixels), constant_run(model, constants, 3)).logits(graph, kept)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("tokens", ["all", "class", "patches"])
def test_components_send_their_constants_at_the_tokens(toy_vit, images, tokens) -> None:
    model = toy_vit(reg_tokens=1, init_values=0.3)
    constants, pixels = mean_outputs(model, [images(model, 5, seed=1)]), images(model, 3)
    edit = ablate_components(model, ["a1.h2", "m0"], constants, tokens=tokens)
    plain = capture(model, pixels)
    with edit.applied(model):
        found = capture(model, pixels)
    places = {"all": slice(None), "class": slice(0, 1), "patches": slice(2, None)}[tokens]
    others = torch.ones(model.n_tokens, dtype=torch.bool)
    others[places] = False
    assert torch.equal(found.mlp_out[0][:, others], plain.mlp_out[0][:, others])
    torch.testing.assert_close(found.mlp_out[0][:, places], constants.sent.mlp_out[0][:, places].expand(3, -1, -1))
    expected = plain.heads[0]
    assert torch.equal(found.heads[0], expected)
    with edit.applied(model):
        sent = []
        hook = model.blocks[1].attn.proj.register_forward_pre_hook(lambda _, args: sent.append(args[0]))
        model.logits(pixels)
        hook.remove()
    heads = sent[0].unflatten(-1, (4, 4))
    constant = constants.sent.heads[1].unflatten(-1, (4, 4)).expand(3, -1, -1, -1)
    torch.testing.assert_close(heads[:, places, 2], constant[:, places, 2])
    assert not torch.allclose(heads[:, places, 1], constant[:, places, 1])


def test_drawn_outputs_are_those_of_single_images(toy_vit, images) -> None:
    model = toy_vit(depth=1)
    pixels = images(model, 4)
    run = capture(model, pixels)
    found = drawn_outputs(model, pixels, seed=2, batch_size=3)
    assert any(torch.equal(found.sent.mlp_out[0][0], image) for image in run.mlp_out[0])
    for head in range(4):
        own = slice(4 * head, 4 * head + 4)
        assert any(torch.equal(found.sent.heads[0][0, :, own], image[:, own]) for image in run.heads[0])
    assert found.digest == drawn_outputs(model, pixels, seed=2, batch_size=4).digest
    assert found.digest != drawn_outputs(model, pixels, seed=3).digest
    assert repr(found).startswith("ConstantOutputs(draws from 4 images, ")
    with pytest.raises(InputError, match="expected at least one image to draw"):
        drawn_outputs(model, pixels[:0])


def test_the_identity_is_of_components_and_constants(toy_vit, images) -> None:
    model = toy_vit()
    zeros, means = zero_outputs(model), mean_outputs(model, [images(model, 2)])
    edits = [
        ablate_components(model, ["a0.h1", "m0"], zeros),
        ablate_components(model, ["m0"], zeros),
        ablate_components(model, ["a0.h1", "m0"], means),
        ablate_components(model, ["a0.h1", "m0"], zeros, tokens="class"),
        ablate_edges(model, ["input->m0"], zeros),
        ablate_edges(model, ["input->m0"], zeros, form="block"),
    ]
    assert len({edit.intervention for edit in edits}) == 6
    assert edits[0].intervention == ablate_components(model, ["m0", "a0.h1"], zero_outputs(model)).intervention
    assert edits[3].text == "ablate a0.h1, m0 at tokens='class', zeros"


def test_wrong_components_and_constants_are_named(toy_vit, unchecked) -> None:
    model = toy_vit()
    zeros = zero_outputs(model)
    with pytest.raises(InputError, match="unknown sender of the head form 'm9'"):
        ablate_components(model, ["m9"], zeros)
    with pytest.raises(InputError, match="expected heads and MLPs, got 'input'"):
        ablate_components(model, ["input"], zeros)
    with pytest.raises(InputError, match="unknown name 'cls'"):
        ablate_components(model, ["m0"], zeros, tokens="cls")
    with pytest.raises(InputError, match="these outputs of senders are of the model"):
        ablate_edges(toy_vit(seed=1), ["input->m0"], zeros)
