"""Steering, compared with brute force over single edges and with figures that follow from the definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, Circuit, Form
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import ImagePairs
from circuitstore.evaluation.interventions import Directions, fit_directions, steer_edges, steer_senders
from circuitstore.models import PatchedRuns, SenderOutputs, ViT, capture, load_model
from circuitstore.testing.factories import make_discovery, make_record
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ...conftest import prepared
from ...reference import VARIANTS


def pairs_of(model: ViT, images, count: int = 4) -> ImagePairs:
    return ImagePairs.of(model, images(model, count), images(model, count, seed=1), [0] * count)


def fitted(model: ViT, images, form: Form = "split") -> Directions:
    return fit_directions(model, pairs_of(model, images), form=form, quantile=0.3)


def steered(output: Tensor, directions: Directions, sender: int, strength: float) -> Tensor:
    """Return D as its definition says."""
    vector, offset = (torch.from_numpy(values[sender]) for values in (directions.vectors, directions.offsets))
    return -strength * ((output * vector).sum(-1, keepdim=True) - offset[:, None]).clamp_min(0) * vector


def hooks_of(model: ViT) -> int:
    return sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in model.module.modules())


def some_edges(directions: Directions, share: float = 0.3, seed: int = 0) -> list[str]:
    names = np.array(directions.graph.edge_names)
    return names[np.random.default_rng(seed).random(len(names)) < share].tolist()


@pytest.mark.parametrize(
    ("name", "form"), [*((name, "split") for name in VARIANTS), *(("LayerScale", f) for f in FORMS)]
)
def test_steered_edges_equal_brute_force(toy_vit, images, brute_force, name: str, form: Form) -> None:
    model = toy_vit(depth=2, **VARIANTS[name])
    directions, attacked = fitted(model, images, form), images(model, 3, seed=1)
    edges, graph = some_edges(directions), directions.graph
    chosen = {graph.edge_index[edge] for edge in edges}

    def carried(edge: int, output: Tensor) -> Tensor:
        moved = steered(output, directions, int(graph.edge_sender[edge]), 1.5)
        return output + moved if edge in chosen else output

    expected, _ = brute_force(model.module, graph).run(model.embed(attacked), carried)
    edit = steer_edges(directions, edges, 1.5)
    with edit.applied(model):
        found = model.logits(attacked)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-11, atol=1e-11)
    assert not torch.allclose(found, model.logits(attacked))
    torch.testing.assert_close(edit.wrapped(model)(attacked).detach(), found)


@pytest.mark.parametrize("form", FORMS)
def test_all_edges_are_all_senders(toy_vit, images, form: Form) -> None:
    model = toy_vit(init_values=0.3, reg_tokens=1)
    directions, attacked = fitted(model, images, form), images(model, 3, seed=1)
    with steer_edges(directions, directions.graph.edge_names, 2).applied(model):
        edges = model.logits(attacked)
    with steer_senders(directions, strength=2).applied(model):
        senders = model.logits(attacked)
    torch.testing.assert_close(edges, senders, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(edges, model.logits(attacked))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_strength_zero_is_the_model_bit_for_bit(toy_module, images, dtype: str) -> None:
    model = load_model(toy_module(), dtype=dtype)
    directions, attacked = fitted(model, images), images(model, 3)
    for edit in (steer_edges(directions, some_edges(directions), 0), steer_senders(directions, strength=0)):
        with edit.applied(model):
            assert torch.equal(model.logits(attacked), edit.wrapped(model)(attacked.to(model.dtype)))
            found = model.logits(attacked)
        assert torch.equal(found, model.logits(attacked))


def test_other_receivers_are_bit_identical(toy_vit, images) -> None:
    model = toy_vit()
    directions, attacked = fitted(model, images), images(model, 3, seed=1)
    plain = capture(model, attacked)
    with steer_edges(directions, ["m0->a1.h2<v>", "input->a1.h2<v>"]).applied(model):
        found = capture(model, attacked)
    assert torch.equal(found.ports[0], plain.ports[0])
    assert torch.equal(found.mlp_out[0], plain.mlp_out[0])
    new, old = (run.ports[1].unflatten(-1, (3, 4, 4)) for run in (found, plain))
    different = (new != old).any(-1).any(0).any(0)
    assert different.nonzero().tolist() == [[2, 2]]
    heads = (found.heads[1] != plain.heads[1]).unflatten(-1, (4, 4)).any(-1).any(0).any(0)
    assert heads.tolist() == [False, False, True, False]
    with steer_edges(directions, ["a0.h1->logits"]).applied(model):
        found = capture(model, attacked)
    assert torch.equal(found.final, plain.final)
    assert not torch.equal(found.logits, plain.logits)


@pytest.mark.parametrize("form", FORMS)
def test_at_strength_one_no_projection_exceeds_its_offset(toy_vit, images, form: Form) -> None:
    model = toy_vit(init_values=0.5)
    directions = fitted(model, images, form)
    stream = model.embed(images(model, 3, seed=1))
    mlps = [f"m{layer}" for layer in range(model.n_layers)]
    with steer_senders(directions, mlps).applied(model):
        run, _ = SenderOutputs.of(model, stream)
    for layer, output in enumerate(run.mlp_out):
        sender = directions.graph.mlp_sender(layer)
        found = (output * torch.from_numpy(directions.vectors[sender])).sum(-1)
        assert (found <= torch.from_numpy(directions.offsets[sender]) + 1e-12).all()


def planted(seed: int = 0) -> tuple[ViT, Tensor, Tensor]:
    """Return a model in which the red channel only adds to one dimension of the stream, and images that differ there.

    All clean images project the same on this dimension, since they have no red.
    """
    module = VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=3).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        module.patch_embed.proj.weight[:, 0] = 0
        module.patch_embed.proj.weight[5] = 0
        module.patch_embed.proj.weight[5, 0] = 0.1
    model = load_model(prepared(module.eval()), dtype="float64")
    clean = torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64)
    clean[:, 0] = 0
    attacked = clean.clone()
    attacked[:, 0] = torch.linspace(1, 3, 5, dtype=torch.float64)[:, None, None]
    return model, clean, attacked


def test_an_added_direction_is_removed_exactly() -> None:
    model, clean, attacked = planted()
    directions = fit_directions(model, ImagePairs.of(model, clean, attacked, [0] * 5))
    np.testing.assert_allclose(directions.coherence[0], [0, 1, 1, 1, 1], atol=1e-12)
    expected = model.logits(clean)
    assert not torch.allclose(model.logits(attacked), expected)
    with steer_senders(directions, ["input"]).applied(model):
        torch.testing.assert_close(model.logits(attacked), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(model.logits(clean), expected, rtol=1e-12, atol=1e-12)
    out_of_input = [name for name in directions.graph.edge_names if name.startswith("input->")]
    with steer_edges(directions, out_of_input).applied(model):
        torch.testing.assert_close(model.logits(attacked), expected, rtol=1e-12, atol=1e-12)


def test_random_directions_do_not_remove_it() -> None:
    model, clean, attacked = planted()
    directions = fit_directions(model, ImagePairs.of(model, clean, attacked, [0] * 5)).random(seed=0)
    with steer_senders(directions, ["input"]).applied(model):
        assert not torch.allclose(model.logits(attacked), model.logits(clean), atol=1e-3)


def test_each_image_is_edited_by_itself(toy_vit, images) -> None:
    model = toy_vit()
    directions, attacked = fitted(model, images), images(model, 5, seed=1)
    for edit in (steer_edges(directions, some_edges(directions)), steer_senders(directions)):
        with edit.applied(model):
            whole = model.logits(attacked)
            single = torch.cat([model.logits(image) for image in attacked.split(1)])
        torch.testing.assert_close(single, whole, rtol=1e-12, atol=1e-12)


def test_no_hook_is_left_behind(toy_vit, images) -> None:
    model = toy_vit()
    directions, attacked = fitted(model, images), images(model, 2)
    plain = model.logits(attacked)
    for edit in (steer_edges(directions, some_edges(directions)), steer_senders(directions)):
        with pytest.raises(ZeroDivisionError), edit.applied(model):
            assert hooks_of(model) > 0
            model.logits(attacked)
            raise ZeroDivisionError
        assert hooks_of(model) == 0
        edit.wrapped(model)
        assert hooks_of(model) == 0
    assert torch.equal(model.logits(attacked), plain)


@pytest.mark.parametrize("at_senders", [True, False])
def test_gradients_flow_through_the_edit(toy_vit, images, at_senders: bool) -> None:
    model = toy_vit(depth=2, embed_dim=8, num_heads=2)
    directions = fit_directions(model, pairs_of(model, images), quantile=0.2)
    edit = steer_senders(directions) if at_senders else steer_edges(directions, some_edges(directions, 0.5))
    wrapped, pixels = edit.wrapped(model), images(model, 1, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: wrapped(x).double(), pixels, fast_mode=True)
    (found,) = torch.autograd.grad(wrapped(pixels)[0, 0], pixels)
    with edit.applied(model):
        (applied,) = torch.autograd.grad(model.module(pixels)[0, 0], pixels)
    (plain,) = torch.autograd.grad(model.module(pixels)[0, 0], pixels)
    assert torch.equal(found, applied)
    assert not torch.allclose(found, plain)


def test_bfloat16_steers_in_single_precision(toy_module, images) -> None:
    single, half = (load_model(toy_module(), dtype=dtype) for dtype in ("float32", "bfloat16"))
    directions, attacked = fitted(single, images), images(single, 3, seed=1)
    for edit in (steer_edges(directions, some_edges(directions)), steer_senders(directions)):
        logits = []
        for model in (single, half):
            with edit.applied(model):
                logits.append(model.logits(attacked).float())
        torch.testing.assert_close(logits[1], logits[0], rtol=0.1, atol=0.3)


def test_runs_of_a_part_raise_an_error(toy_vit, images) -> None:
    model = toy_vit()
    directions, attacked = fitted(model, images), images(model, 2)
    graph, plain = directions.graph, capture(model, attacked)
    with steer_edges(directions, some_edges(directions)).applied(model):
        with pytest.raises(InputError, match="expected a whole forward pass of the edited model"):
            model.through_blocks(model.embed(attacked), start=2)
        with pytest.raises(InputError, match="expected a whole forward pass of the edited model"):
            PatchedRuns(model, plain.stream, plain).logits(graph, np.ones(graph.n_edges, bool))
        assert model.logits(attacked).shape == (2, 5)


def test_the_identity_is_of_edges_directions_and_strength(toy_vit, images) -> None:
    model = toy_vit()
    directions = fitted(model, images)
    edit = steer_edges(directions, ["input->m0", "m0->logits"])
    assert edit.intervention == steer_edges(directions, ["m0->logits", "input->m0", "input->m0"]).intervention
    assert edit.intervention["strength"] == 1
    others = (
        steer_edges(directions, ["input->m0"]),
        steer_edges(directions, edit.edges, 2),
        steer_edges(directions.random(seed=0), edit.edges),
        steer_senders(directions, ["input", "m0"]),
    )
    assert len({e.intervention for e in (edit, *others)}) == 5
    assert (
        repr(edit) == f"SteeredEdges(steer 2 edges, strength 1, offset quantile(0.3), model {model.fingerprint[:12]})"
    )


@pytest.mark.parametrize("strength", [-1, float("nan"), float("inf"), "1", True, None])
def test_a_strength_out_of_range_is_named(toy_vit, images, strength, unchecked) -> None:
    directions = fitted(toy_vit(), images)
    with pytest.raises(InputError, match="strength: expected a number of at least 0"):
        steer_edges(directions, ["input->m0"], strength)
    with pytest.raises(InputError, match="strength: expected a number of at least 0"):
        steer_senders(directions, ["input"], strength)


def test_wrong_edges_and_models_are_named(toy_vit, images, unchecked) -> None:
    model = toy_vit()
    directions = fitted(model, images)
    with pytest.raises(InputError, match=r"unknown edge of the split form 'a0\.h1->m9'"):
        steer_edges(directions, ["a0.h1->m9"])
    with pytest.raises(InputError, match="edges: expected at least one edge, got none"):
        steer_edges(directions, [])
    with pytest.raises(InputError, match="edges: expected a list of names"):
        steer_edges(directions, "input->m0")
    other = Circuit.from_edges(model.graph("block"), ["input->logits"])
    with pytest.raises(InputError, match="expected a circuit over the split form of 3 layers of 4 heads, got one over"):
        steer_edges(directions, other)
    with pytest.raises(InputError, match=r"edges: the circuit \w+ is of the model"):
        steer_edges(directions, make_record(make_discovery()))
    with pytest.raises(InputError, match="unknown sender of the split form 'm7'"):
        steer_senders(directions, ["m7"])
    with pytest.raises(InputError, match="senders: expected at least one, got none"):
        steer_senders(directions, [])
    for edit in (steer_edges(directions, ["input->m0"]), steer_senders(directions)):
        with pytest.raises(InputError, match="edit: fitted on the model"), edit.applied(toy_vit(seed=1)):
            pass
        with pytest.raises(InputError, match="edit: fitted on the model"):
            edit.wrapped(toy_vit(seed=1))


def test_directions_from_other_images_than_the_circuits_are_noticed(toy_vit, images) -> None:
    directions = replace(fitted(toy_vit(), images), images=("a", "b"))
    with pytest.warns(CircuitStoreWarning, match="1 of the 2 images .* not among the 2 images that the edges"):
        steer_edges(directions, ["input->m0"], found_on=["a", "c"])
    steer_edges(directions, ["input->m0"], found_on=["a", "b", "c"])
