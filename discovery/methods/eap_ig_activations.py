"""EAP-IG (activations): the output of one node is taken from corrupted to clean, while the others run on.

Own node: edges out of u are scored while u, and nothing else, is between its two values,

    s(u→v) = (1/S) Σ_k ⟨Δ_u, ∇_v m(o_u = o_u(x') + α_k Δ_u)⟩ ,   Δ_u = o_u(x) − o_u(x')

in the clean run (noising) or in the corrupted one (denoising), so that in the limit of many steps (midpoint: as 1/S²)
the edges out of a node sum to its exact patch: noising m(M) − m(o_u corrupted), denoising m(o_u clean) − m(∅). The
heads of a layer move together, as in the authors' code, and their edges sum to the patch of the whole attention; in
`eap-ig-activations-heads` each moves by itself. Only what follows the node is run: S (L + 2/3) forwards and backwards
beside the two plain runs, heads by themselves about S H L / 2.

As coded (hannamw/EAP-IG at 795f560): for each node in turn, in the clean run at α = 1/S … 1, *every* edge is scored
with the gradients of that run, and all is divided by S times the number of nodes. The moved node is cut off from what
it reads. Those sums are no patch of anything; the variant is here to reproduce published circuits. Costs (2L + 1) S
forwards and backwards beside the two plain runs.

Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import ComputationGraph
from ...circuits.recipe import DIRECTIONS
from ...models import Activations, ReceiverGradients, capture, fixed_output, sender_differences
from ..batches import Pairs
from ..contraction import Contraction
from ..method import GRADIENT, Task, choice, count
from ..metrics import flat_in_one_step
from ..scoring import BatchScores, per_image
from .eap_ig import AT_ONCE, RULES, points


class _Node(NamedTuple):
    """Consecutive senders that move together, and how many components have written once they have."""

    first: int
    size: int
    position: int


def _nodes(graph: ComputationGraph, heads_apart: bool) -> Iterator[_Node]:
    per_layer = (graph.n_senders - 1) // graph.n_layers
    together = 1 if heads_apart else per_layer - 1
    yield _Node(0, 1, 0)
    for layer in range(graph.n_layers):
        first, mlp = 1 + layer * per_layer, (layer + 1) * per_layer
        for head in range(first, mlp, together):
            yield _Node(head, together, 2 * layer + 1)
        yield _Node(mlp, 1, 2 * layer + 2)


def _streams(run: Activations) -> list[Float[Tensor, "image token d_model"]]:
    """The stream after each number of components has written to it."""
    read = [stream for both in zip(run.attention_in, run.mlp_in, strict=True) for stream in both]
    return [*read, run.final]


def _own_node(heads_apart: bool, task: Task, batch: Pairs, *, steps: int, rule: str, gradient: str) -> BatchScores:
    model, noising = task.model, task.direction == "noising"
    clean, corrupted = capture(model, batch.clean), capture(model, batch.corrupted)
    differences = sender_differences(model, task.form, clean, corrupted)
    gradients = ReceiverGradients(model, task.form, clean.stream, gradient)
    contraction = Contraction(task.graph, batch.token_weights(clean.stream, model.exact_dtype))
    streams = _streams(clean if noising else corrupted)
    for node in _nodes(task.graph, heads_apart):
        moved = differences[:, node.first : node.first + node.size]
        stream, move = streams[node.position], moved.sum(dim=1)
        for number, point in enumerate(points(steps, rule), 1):
            at = (stream + (point - noising) * move).to(stream.dtype)
            gradients.add(at, batch.values, 1 / steps, start=node.position)
            if gradients.runs == AT_ONCE or number == steps:
                contraction.add(moved, gradients, first=node.first)
    ends = batch.values(clean.logits), batch.values(corrupted.logits)
    return BatchScores.of(contraction.scores(), *ends)


def _own_node_passes(
    heads_apart: bool, graph: ComputationGraph, steps: int, rule: str, gradient: str
) -> tuple[float, float]:
    """What follows a node, in units of the whole; the MLP is two thirds of a block."""
    following = [(2 * graph.n_layers - n.position + n.position % 2 / 3) / 2 for n in _nodes(graph, heads_apart)]
    backwards = steps * sum(following) / graph.n_layers
    return 2 + backwards, backwards


def _as_coded(task: Task, batch: Pairs, *, steps: int) -> BatchScores:
    model = task.model
    clean, corrupted = capture(model, batch.clean), capture(model, batch.corrupted)
    differences = sender_differences(model, task.form, clean, corrupted)
    gradients = ReceiverGradients(model, task.form, clean.stream)
    contraction = Contraction(task.graph, batch.token_weights(clean.stream, model.exact_dtype))
    components = 2 * model.n_layers
    for moved in range(-1, components):  # -1: `input`
        for point in points(steps, "right"):
            stream = torch.lerp(corrupted.stream, clean.stream, point) if moved < 0 else clean.stream
            with fixed_output(model, moved, clean, corrupted, point) if moved >= 0 else nullcontext():
                gradients.add(stream, batch.values, 1 / (steps * (components + 1)))
            if gradients.runs == AT_ONCE:
                contraction.add(differences, gradients)
    contraction.add(differences, gradients)
    ends = batch.values(clean.logits), batch.values(corrupted.logits)
    return BatchScores.of(contraction.scores(), *ends)


def _coded_passes(graph: ComputationGraph, steps: int) -> tuple[int, int]:
    backwards = (2 * graph.n_layers + 1) * steps
    return 2 + backwards, backwards


EAP_IG_ACTIVATIONS = per_image(
    partial(_own_node, False),
    key="eap-ig-activations",
    name="Edge attribution patching with integrated gradients (activations, own node)",
    paper="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806; each node's edges from its own path",
    passes=partial(_own_node_passes, False),
    directions=DIRECTIONS,
    params={"steps": count(5), "rule": choice(*RULES), "gradient": GRADIENT},
    refuses=flat_in_one_step,
    tokens=True,
)

EAP_IG_ACTIVATIONS_HEADS = per_image(
    partial(_own_node, True),
    key="eap-ig-activations-heads",
    name="Edge attribution patching with integrated gradients (activations, own node, head by head)",
    paper="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806; each node's edges from its own path",
    passes=partial(_own_node_passes, True),
    forms=("split", "head", "attention"),
    directions=DIRECTIONS,
    params={"steps": count(5), "rule": choice(*RULES), "gradient": GRADIENT},
    additive=False,
    refuses=flat_in_one_step,
    tokens=True,
)

EAP_IG_ACTIVATIONS_AS_CODED = per_image(
    _as_coded,
    key="eap-ig-activations-as-coded",
    name="Edge attribution patching with integrated gradients (activations), as in the authors' code",
    paper="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806; hannamw/EAP-IG at 795f560",
    passes=_coded_passes,
    params={"steps": count(5)},
    refuses=flat_in_one_step,
    tokens=True,
)
