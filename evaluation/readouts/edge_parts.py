"""The score of edges, divided by token: what footprints consist of.

    edge u→v at token t:  ⟨o_u(x) − o_u(x'), (1/S) Σ_k ∇_v m(z' + α_k (z − z'))⟩ at t,  z the input stream of block 0

The sender writes and the receiver reads at the same token, so the sum over tokens is the edge's score by `eap-ig` with
the same parameters. By source token, the contribution of a head is divided by the tokens that the head reads from;
other senders read from the token at which they write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...circuits import Axis, ComputationGraph, Form, Readout, ReadoutUse
from ...circuits.kinds import choice, whole
from ...circuits.readout import Label
from ...models import GRADIENTS, Activations, ReceiverGradients, ViT, capture, sender_differences
from ..execution import Execution
from ..measured import MeasuredPairs
from ..path_points import RULES, points
from .batched import image_axis, read_pairs, token_axis
from .head_sources import head_sources

PARAMS = {
    "by": choice("token", "source-token"),
    "steps": whole(5),
    "rule": choice(*RULES),
    "gradient": choice(*GRADIENTS),
}
"""Parameters of footprints; the last three are those of the method `eap-ig`."""

AT_ONCE = 8
"""Runs whose normalised streams are kept at the same time."""

Edges = Int[np.ndarray, "_"]
"""Flat indices of any number of edges."""

OfSender = Callable[[int, Float[Tensor, "image token d_model"]], Float[Tensor, "image token"]]
"""Returns the product of a sender's difference with a gradient, token by token."""


def edge_parts(
    model: ViT,
    graph: ComputationGraph,
    pairs: MeasuredPairs,
    rows: tuple[str, Mapping[Label, Edges]],
    use: ReadoutUse,
    execution: Execution,
) -> Readout:
    """Return sums over edges, `[image, row, token]` or `[image, row, source_token]`.

    Args:
        model: the model.
        graph: its graph.
        pairs: the images, with a metric.
        rows: the name of the second axis, and the edges that each of its entries adds up.
        use: the read-out with the parameters of `PARAMS`.
        execution: batch size and progress.

    Raises:
        InputError: pairs without corrupted images.
    """

    def parts(batch: MeasuredPairs) -> Float[Tensor, "image row token"]:
        return _parts(model, graph, batch, list(rows[1].values()), use)

    axes = (Axis(rows[0], tuple(rows[1])), token_axis(model, str(use["by"]).replace("-", "_")))
    values = read_pairs(model, pairs, parts, execution)
    return Readout(use, (image_axis(len(pairs)), *axes), values, unit=pairs.metric.text, metric=pairs.metric)


def out_of_input(graph: ComputationGraph, edges: Edges) -> Edges:
    """Return those of some edges whose sender is `input`."""
    return edges[graph.edge_sender[edges] == graph.senders.index("input")]


def by_receiver(graph: ComputationGraph, edges: Edges) -> dict[Label, Edges]:
    """Return the edges into each layer, and those into `logits`; a layer may have none."""
    places = [graph.receiver_place(int(receiver)).layer for receiver in graph.edge_receiver[edges]]
    into = np.array([graph.n_layers if layer is None else layer for layer in places], dtype=int)
    return {label: edges[into == layer] for layer, label in enumerate((*range(graph.n_layers), "logits"))}


def _parts(
    model: ViT, graph: ComputationGraph, batch: MeasuredPairs, rows: list[Edges], use: ReadoutUse
) -> Float[Tensor, "image row token"]:
    clean, corrupted = capture(model, batch.clean), capture(model, batch.corrupted)
    of_sender = _by_token(model, graph, clean, corrupted)
    if use["by"] == "source-token":
        of_sender = _by_source(model, graph, clean, corrupted, of_sender)
    rows_of: dict[int, list[int]] = {}
    for row, edges in enumerate(rows):
        for edge in edges:
            rows_of.setdefault(int(edge), []).append(row)
    receivers = {edge: int(graph.edge_receiver[edge]) for edge in rows_of}
    found = torch.zeros(len(batch), len(rows), model.n_tokens, dtype=model.exact_dtype, device=model.device)
    for gradients in _along_path(model, graph.form, batch, clean, corrupted, use):
        for receiver in sorted(set(receivers.values())):
            gradient = gradients.at(receiver)
            for edge in (edge for edge in rows_of if receivers[edge] == receiver):
                part = of_sender(int(graph.edge_sender[edge]), gradient)
                found[:, rows_of[edge]] += part[:, None]
    return found


def _along_path(
    model: ViT, form: Form, batch: MeasuredPairs, clean: Activations, corrupted: Activations, use: ReadoutUse
) -> Iterator[ReceiverGradients]:
    """Yield sums of weighted gradients over some points of the path at a time."""
    steps = int(str(use["steps"]))
    at = points(steps, str(use["rule"]))
    gradients = ReceiverGradients(model, form, clean.stream, str(use["gradient"]))
    for first in range(0, steps, AT_ONCE):
        for point in at[first : first + AT_ONCE]:
            gradients.add(torch.lerp(corrupted.stream, clean.stream, point), batch.values, 1 / steps)
        yield gradients
        gradients.clear()


def _by_token(model: ViT, graph: ComputationGraph, clean: Activations, corrupted: Activations) -> OfSender:
    differences = sender_differences(model, graph.form, clean, corrupted)
    return lambda sender, gradient: (differences[:, sender] * gradient).sum(dim=-1)


def _by_source(
    model: ViT, graph: ComputationGraph, clean: Activations, corrupted: Activations, by_token: OfSender
) -> OfSender:
    """Return the function that divides heads by source token; other senders keep the token at which they write."""
    signed = [(1, head_sources(model, clean)), (-1, head_sources(model, corrupted))]

    def of_sender(sender: int, gradient: Tensor) -> Tensor:
        layer, part = graph.sender_place(sender)
        if layer is None or part is None:
            return by_token(sender, gradient)
        heads = range(model.n_heads) if graph.form == "block" else [part]
        parts = [sign * of_head(layer, head, gradient) for sign, of_head in signed for head in heads]
        return torch.stack(parts).sum(dim=0)

    return of_sender
