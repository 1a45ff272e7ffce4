# pyright: reportAttributeAccessIssue=false
"""Random edges as controls, and the greedy choice of components on a model whose components are planted."""

from __future__ import annotations

import pytest
import torch
from circuitstore.circuits import Circuit
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution, ImagePairs
from circuitstore.evaluation.interventions import greedy_components, random_edges
from circuitstore.models import ViT, load_model, zero_outputs
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ...conftest import prepared


def test_random_edges_are_outside_of_the_circuit(toy_vit) -> None:
    graph = toy_vit().graph("split")
    circuit = Circuit.from_edges(graph, ["input->m0", "m0->logits", "input->logits"])
    drawn = random_edges(graph, graph.n_edges - 3, seed=0, outside=circuit)
    assert set(drawn) == set(graph.edge_names) - set(circuit.edges)
    some = random_edges(graph, 20, seed=0)
    assert len(set(some)) == 20
    assert some == random_edges(graph, 20, seed=0) != random_edges(graph, 20, seed=1)


def test_wrong_numbers_of_random_edges_are_named(toy_vit, unchecked) -> None:
    graph = toy_vit().graph("block")
    circuit = Circuit.from_edges(graph, ["input->logits"])
    for n in (0, graph.n_edges, 2.5, True):
        with pytest.raises(InputError, match=f"n: expected a whole number from 1 to {graph.n_edges - 1}"):
            random_edges(graph, n, seed=0, outside=circuit)
    with pytest.raises(InputError, match="outside: expected a circuit over"):
        random_edges(toy_vit().graph("split"), 3, seed=0, outside=circuit)


def planted() -> tuple[ViT, ImagePairs]:
    """Return a model without norms whose class is the sign of green, unless red, which m0 adds, outweighs it.

    The first MLP adds 8 · red to the logit of class 1, and the second nothing at all.
    """
    module = VisionTransformer(
        img_size=4, patch_size=4, embed_dim=4, depth=2, num_heads=1, num_classes=2, norm_layer=nn.Identity,
        act_layer=nn.ReLU, mlp_ratio=1, class_token=False, global_pool="avg",
    ).double()  # fmt: skip
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for dimension, channel in enumerate((0, 1)):  # red and green, as the mean over pixels
            module.patch_embed.proj.weight[dimension, channel] = 1 / 16
        module.blocks[0].mlp.fc1.weight[0, 0] = 1
        module.blocks[0].mlp.fc2.weight[2, 0] = 8
        module.head.weight[0, 1], module.head.weight[1, 1], module.head.weight[1, 2] = 1, -1, 1
    model = load_model(prepared(module), dtype="float64")
    clean = torch.zeros(4, 3, 4, 4, dtype=torch.float64)
    clean[:, 1] = torch.tensor([1, 2, -1, -2], dtype=torch.float64)[:, None, None]
    attacked = clean.clone()
    attacked[:, 0] = 1
    return model, ImagePairs.of(model, clean, attacked, [0, 0, 1, 1])


def test_greedy_finds_the_component_that_reads_the_attack() -> None:
    model, pairs = planted()
    seen = list[tuple[int, int]]()
    execution = Execution(batch_size=3, progress=lambda done, total: seen.append((done, total)))
    found = greedy_components(model, pairs, zero_outputs(model), skips=2, execution=execution)
    assert (found.clean, found.attacked) == (1, 0.5)
    assert found.components == ("m0",)
    assert found.steps[0].attacked == 1
    assert [step.added for step in found.steps] == [True, False, False]
    assert found.edit is not None
    with found.edit.applied(model):
        assert model.logits(pairs.corrupted).argmax(1).tolist() == [0, 0, 1, 1]
    assert seen[-1] == (7, 8)
    assert repr(found) == (
        "GreedyComponents(1 of 3 tried components, attacked accuracy 0.500 to 1.000, clean 1.000 to 1.000)"
    )


def test_greedy_adds_nothing_that_does_not_help() -> None:
    model, pairs = planted()
    found = greedy_components(model, pairs, zero_outputs(model), candidates=["m1", "a0.h0", "a1.h0"], skips=2)
    assert (found.components, found.edit, len(found.steps)) == ((), None, 2)


def test_wrong_settings_are_named(unchecked) -> None:
    model, pairs = planted()
    with pytest.raises(InputError, match="max_loss: expected a number from 0 to 1, got -1"):
        greedy_components(model, pairs, zero_outputs(model), max_loss=-1)
    with pytest.raises(InputError, match="skips: expected a whole number of at least 1, got 0"):
        greedy_components(model, pairs, zero_outputs(model), skips=0)
