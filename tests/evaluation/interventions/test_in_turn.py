"""Several directions in turn: each reads what those before it have left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.circuits import FORMS, Form
from circuitstore.errors import InputError
from circuitstore.evaluation.interventions import Directions, fit_offsets, steer_edges, steer_senders
from circuitstore.models import ViT
from torch import Tensor

STRENGTH = 1.3


def sets_of(model: ViT, images, form: Form, count: int) -> tuple[Directions, ...]:
    """Random directions, with the medians of a few images as their offsets."""
    graph, rng = model.graph(form), np.random.default_rng(0)
    shape = (graph.n_senders, model.n_tokens, model.d_model)
    zeros = np.zeros(shape[:2])
    found = []
    for _ in range(count):
        drawn = rng.standard_normal(shape)
        vectors = drawn / np.linalg.norm(drawn, axis=2, keepdims=True)
        found.append(Directions(graph, model.fingerprint, vectors, zeros, zeros, "zero", 1))
    return tuple(fit_offsets(model, one, images(model, 5, seed=2), quantile=0.5) for one in found)


def in_turn(output: Tensor, sets: tuple[Directions, ...], sender: int) -> Tensor:
    for one in sets:
        vector, offset = (torch.from_numpy(values[sender]) for values in (one.vectors, one.offsets))
        output = output - STRENGTH * ((output * vector).sum(-1, keepdim=True) - offset[:, None]).clamp_min(0) * vector
    return output


@pytest.mark.parametrize("form", FORMS)
def test_edges_and_senders_equal_brute_force(toy_vit, images, brute_force, form: Form) -> None:
    model = toy_vit(depth=2, init_values=0.3)
    sets, attacked = sets_of(model, images, form, 3), images(model, 3, seed=1)
    graph = sets[0].graph
    edges = np.flatnonzero(np.random.default_rng(1).random(graph.n_edges) < 0.4)
    some = [graph.edge_names[e] for e in edges]
    for edit, chosen in (
        (steer_edges(sets, some, STRENGTH), set(edges.tolist())),
        (steer_senders(sets, None, STRENGTH), set(range(graph.n_edges))),
    ):

        def carried(edge: int, output: Tensor, chosen: set[int] = chosen) -> Tensor:
            return in_turn(output, sets, int(graph.edge_sender[edge])) if edge in chosen else output

        expected, _ = brute_force(model.module, graph).run(model.embed(attacked), carried)
        with edit.applied(model):
            torch.testing.assert_close(model.logits(attacked), expected.detach(), rtol=1e-10, atol=1e-10)


def test_the_order_is_part_of_the_identity(toy_vit, images) -> None:
    model = toy_vit(depth=1)
    first, second = sets_of(model, images, "block", 2)
    kinds = [steer_senders(sets).intervention for sets in (first, (first,), (first, second), (second, first))]
    assert kinds[0] == kinds[1] and len(set(kinds)) == 3
    assert "2 directions in turn" in repr(steer_senders((first, second)))


def test_sets_of_several_forms_are_refused(toy_vit, images) -> None:
    model = toy_vit(depth=1)
    (block,), (head,) = (sets_of(model, images, form, 1) for form in ("block", "head"))
    with pytest.raises(InputError, match="sets of one model and form"):
        steer_senders((block, head))
    with pytest.raises(InputError, match="at least one set"):
        steer_senders(())
