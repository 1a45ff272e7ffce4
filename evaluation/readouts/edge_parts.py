"""The score of edges, divided by token: what footprints consist of.

    edge u→v at token t:  ⟨o_u(x) − o_u(x'), (1/S) Σ_k ∇_v m(z' + α_k (z − z'))⟩ at t,  z the input stream of block 0

The sender writes and the receiver reads at the same token, so the sum over tokens is the edge's score by `eap-ig` with
the same parameters. By source token, the contribution of a head is divided by the tokens that the head reads from;
other senders read from the token at which they write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...circuits import FORMS, Axis, ComputationGraph, Form, Readout, ReadoutUse
from ...models import Activations, ReceiverGradients, ViT, capture, sender_differences
from ..execution import Execution
from ..measured import MeasuredPairs
from ..path_points import points
from .batched import image_axis, read_pairs, token_axis
from .head_sources import head_sources

AT_ONCE = 8
"""Runs whose normalised streams are kept at the same time."""

Edges = Int[np.ndarray, "edge"]
OfSender = Callable[[int, Float[Tensor, "image token d_model"]], Float[Tensor, "image token"]]
"""Returns the product of a sender's difference with a gradient, token by token."""


def edge_parts(
    model: ViT, pairs: MeasuredPairs, edges: Sequence[str], use: ReadoutUse, execution: Execution
) -> Readout:
    """Return the parts of each edge `[image, edge, token]` or `[image, edge, source_token]`.

    Raises:
        InputError: an unknown edge or a repeated one, or pairs without corrupted images.
    """
    graph = model.graph(form_of(use))
    indices = np.array([graph.index_of(name) for name in edges])

    def parts(batch: MeasuredPairs) -> Float[Tensor, "image edge token"]:
        return _parts(model, graph, batch, indices, use)

    axes = (Axis("edge", tuple(edges)), token_axis(model, str(use["by"]).replace("-", "_")))
    values = read_pairs(model, pairs, parts, execution)
    return Readout(use, (image_axis(len(pairs)), *axes), values, unit=pairs.metric.text, metric=pairs.metric)


def form_of(use: ReadoutUse) -> Form:
    """Return the form of the graph of a footprint."""
    return next(form for form in FORMS if form == use["form"])


def by_layer(model: ViT, found: Readout) -> Readout:
    """Return the sum of the parts of all edges into each layer, and into `logits`."""
    graph, layers = model.graph(form_of(found.use)), Axis("layer", (*range(model.n_layers), "logits"))
    receivers = [graph.edge_receiver[graph.index_of(str(name))] for name in found.axis("edge").labels]
    places = [graph.receiver_place(int(receiver)).layer for receiver in receivers]
    into = [layers.position("logits" if place is None else place) for place in places]
    goes = np.eye(len(layers), dtype=found.values.dtype)[into]
    values = np.einsum("el,iet->ilt", goes, found.values)
    axes = (found.axis("image"), layers, found.axes[2])
    return Readout(found.use, axes, values, unit=found.unit, metric=found.metric)


def _parts(
    model: ViT, graph: ComputationGraph, batch: MeasuredPairs, edges: Edges, use: ReadoutUse
) -> Float[Tensor, "image edge token"]:
    clean, corrupted = capture(model, batch.clean), capture(model, batch.corrupted)
    of_sender = _by_token(model, graph, clean, corrupted)
    if use["by"] == "source-token":
        of_sender = _by_source(model, graph, clean, corrupted, of_sender)
    found = torch.zeros(len(batch), len(edges), model.n_tokens, dtype=model.exact_dtype, device=model.device)
    for gradients in _along_path(model, graph.form, batch, clean, corrupted, use):
        for receiver in np.unique(graph.edge_receiver[edges]):
            gradient = gradients.at(int(receiver))
            for place in np.flatnonzero(graph.edge_receiver[edges] == receiver):
                found[:, place] += of_sender(int(graph.edge_sender[edges[place]]), gradient)
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
