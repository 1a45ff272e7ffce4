"""EAP-IG (activations), own node: edges out of a node are scored while only that node moves between its two values.

    s(u→v) = (1/S) Σ_k ⟨Δ_u, ∇_v m(o_u = o_u(x') + α_k Δ_u)⟩ ,   Δ_u = o_u(x) − o_u(x')

in the clean run (noising) or in the corrupted run (denoising). In the limit of many steps (midpoint: error of order
1/S²), the edges out of a node sum to the effect of its exact patching: noising m(M) − m(o_u corrupted), denoising
m(o_u clean) − m(∅). Only the computation after the node is run. One more forward pass per node gives the exact effect
that its edges are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph
from ..evaluation.measured import MeasuredPairs
from ..evaluation.path_points import points
from ..evaluation.reference import reference
from ..models import Activations, ReceiverGradients, capture, sender_differences
from .contraction import Contraction
from .interpolation import AT_ONCE
from .method import Task
from .scoring import BatchScores


class _Node(NamedTuple):
    """Consecutive senders that move together, and the number of components that write to the stream up to them."""

    first: int
    size: int
    position: int


def _nodes(graph: ComputationGraph, separate_heads: bool) -> Iterator[_Node]:
    yield _Node(0, 1, 0)
    for layer in range(graph.n_layers):
        heads = graph.attention_senders(layer)
        together = 1 if separate_heads else len(heads)
        for head in heads[::together]:
            yield _Node(head, together, 2 * layer + 1)
        yield _Node(graph.mlp_sender(layer), 1, 2 * layer + 2)


def _streams(run: Activations) -> list[Float[Tensor, "image token d_model"]]:
    """Return the stream after each number of components has written to it."""
    read = [stream for both in zip(run.attention_in, run.mlp_in, strict=True) for stream in both]
    return [*read, run.final]


def own_node(
    separate_heads: bool, task: Task, batch: MeasuredPairs, *, steps: int, rule: str, gradient: str
) -> BatchScores:
    model, noising = task.model, task.direction == "noising"
    clean, corrupted = capture(model, batch.clean), reference(model, batch)
    differences = sender_differences(model, task.form, clean, corrupted)
    gradients = ReceiverGradients(model, task.form, clean.stream, gradient)
    contraction = Contraction(task.graph, batch.token_weights(clean.stream, model.exact_dtype))
    base, streams = batch.values((clean if noising else corrupted).logits), _streams(clean if noising else corrupted)
    patches = []
    for node in _nodes(task.graph, separate_heads):
        moved = differences[:, node.first : node.first + node.size]
        stream, move = streams[node.position], moved.sum(dim=1)

        def at(point: float) -> Float[Tensor, "image token d_model"]:
            """Return the stream behind the node, with the node at this point between corrupted and clean."""
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
    separate_heads: bool, graph: ComputationGraph, steps: int, rule: str, gradient: str
) -> tuple[float, float]:
    """Return the passes per image pair, counting only what follows each node; the MLP is two thirds of a block."""
    following = [(2 * graph.n_layers - n.position + n.position % 2 / 3) / 2 for n in _nodes(graph, separate_heads)]
    once = sum(following) / graph.n_layers
    return 2 + (steps + 1) * once, steps * once
