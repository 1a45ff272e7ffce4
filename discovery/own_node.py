"""EAP-IG (activations), own node: edges out of a node are scored while it, and nothing else, is between its two values.

    s(u→v) = (1/S) Σ_k ⟨Δ_u, ∇_v m(o_u = o_u(x') + α_k Δ_u)⟩ ,   Δ_u = o_u(x) − o_u(x')

in the clean run (noising) or in the corrupted one (denoising), so that in the limit of many steps (midpoint: as 1/S²)
the edges out of a node sum to its exact patch: noising m(M) − m(o_u corrupted), denoising m(o_u clean) − m(∅). Only
what follows the node is run. One more such run a node, without a way back, gives the exact patch that its edges are
held against.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph
from ..evaluation.measured import MeasuredPairs
from ..models import Activations, ReceiverGradients, capture, sender_differences
from .contraction import Contraction
from .interpolation import AT_ONCE, points
from .method import Task
from .scoring import BatchScores


class _Node(NamedTuple):
    """Consecutive senders that move together, and how many components have written once they have."""

    first: int
    size: int
    position: int


def _nodes(graph: ComputationGraph, heads_apart: bool) -> Iterator[_Node]:
    yield _Node(0, 1, 0)
    for layer in range(graph.n_layers):
        heads = graph.attention_senders(layer)
        together = 1 if heads_apart else len(heads)
        for head in heads[::together]:
            yield _Node(head, together, 2 * layer + 1)
        yield _Node(graph.mlp_sender(layer), 1, 2 * layer + 2)


def _streams(run: Activations) -> list[Float[Tensor, "image token d_model"]]:
    """The stream after each number of components has written to it."""
    read = [stream for both in zip(run.attention_in, run.mlp_in, strict=True) for stream in both]
    return [*read, run.final]


def own_node(
    heads_apart: bool, task: Task, batch: MeasuredPairs, *, steps: int, rule: str, gradient: str
) -> BatchScores:
    model, noising = task.model, task.direction == "noising"
    clean, corrupted = capture(model, batch.clean), capture(model, batch.corrupted)
    differences = sender_differences(model, task.form, clean, corrupted)
    gradients = ReceiverGradients(model, task.form, clean.stream, gradient)
    contraction = Contraction(task.graph, batch.token_weights(clean.stream, model.exact_dtype))
    base, streams = batch.values((clean if noising else corrupted).logits), _streams(clean if noising else corrupted)
    patches = []
    for node in _nodes(task.graph, heads_apart):
        moved = differences[:, node.first : node.first + node.size]
        stream, move = streams[node.position], moved.sum(dim=1)

        def at(point: float) -> Float[Tensor, "image token d_model"]:
            """The stream behind the node, which is this far from corrupted to clean."""
            return (stream + (point - noising) * move).to(stream.dtype)  # noqa: B023

        with torch.no_grad():
            other = batch.values(model.readout(model.through_blocks(at(0.0 if noising else 1.0), node.position)))
        patches.append(base - other if noising else other - base)
        for number, point in enumerate(points(steps, rule), 1):
            gradients.add(at(point), batch.values, 1 / steps, start=node.position)
            if gradients.runs == AT_ONCE or number == steps:
                contraction.add(moved, gradients, first=node.first)
    ends = batch.values(clean.logits), batch.values(corrupted.logits)
    return BatchScores.of(contraction.scores(), *ends, torch.stack(patches, dim=1))


def own_node_passes(
    heads_apart: bool, graph: ComputationGraph, steps: int, rule: str, gradient: str
) -> tuple[float, float]:
    """What follows a node, in units of the whole; the MLP is two thirds of a block."""
    following = [(2 * graph.n_layers - n.position + n.position % 2 / 3) / 2 for n in _nodes(graph, heads_apart)]
    once = sum(following) / graph.n_layers
    return 2 + (steps + 1) * once, steps * once
