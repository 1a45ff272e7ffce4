"""Exact activation patching of single nodes.

noising: s(u) = m(M) − m(M with o_u := o_u(x')), what the metric loses when a node sends its corrupted output.
denoising: s(u) = m(∅ with o_u := o_u(x)) − m(∅), what it gains when a node sends its clean output.

Everything downstream of u is recomputed: the stream after u is shifted by ∓(o_u(x) − o_u(x')), at all tokens or at one.
Gradient methods approximate this effect; attribution patching (AtP) is its linearization. Costs the computation after
the node, half a forward pass on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph, Form, Metric
from ..circuits.recipe import Direction
from ..errors import InputError, unknown
from ..models import ReceiverRuns, ViT, capture, runs_model, sender_differences
from .effects import Effects
from .execution import DEFAULT, Execution
from .measured import MeasuredPairs, measure
from .pairs import ImagePairs
from .reference import check_direction, reference


@runs_model
def patch_nodes(
    model: ViT,
    pairs: ImagePairs,
    *,
    nodes: Sequence[str] | None = None,
    tokens: Sequence[int] | Literal["each"] | None = None,
    form: Form = "head",
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    execution: Execution = DEFAULT,
) -> Effects:
    """Patch nodes one at a time: input, heads and MLPs, or whole attention layers and MLPs.

    Args:
        nodes: names such as `a3.h1` and `m3`, or `a3` and `m3` in the `block` form; all senders by default.
        tokens: None patches a node at all tokens at once. A list of positions, or "each" for all of them, patches one
            token at a time. The class token, if there is one, is token 0.
        form: in `block`, the heads of a layer are one node; the other forms have the same nodes.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (clean run, a node corrupted) or `denoising` (corrupted run, a node restored).
        execution: batch size and progress; progress counts runs of all images.

    Returns:
        Effects per image `[image, node]` or `[image, node, token]`; positive if the node raises the metric.

    Raises:
        InputError: an unknown name, tokens that the model does not have, pairs or a metric that do not fit, or
            `denoising` without corrupted images.

    Examples:
        >>> patch_nodes(model, pairs, nodes=["a3.h1", "m3"]).to_pandas()
            node    effect       std
        0  a3.h1 ...
        1     m3 ...
    """
    measured = measure(model, pairs, metric)
    check_direction(direction, measured)
    graph = model.graph(form)
    names = graph.senders if nodes is None else tuple(nodes)
    senders = [_sender(graph, name) for name in names]
    places = token_places(tokens, model.n_tokens)
    size = execution.size(model, form)
    done, total = 0, len(senders) * (1 if places is None else len(places))
    parts = []
    for batch in measured.batches(size):
        columns = []
        for column in _effects(model, graph, batch, senders, places, direction, size):
            columns.append(column)
            done += column.shape[1] * len(batch)
            execution.report(done // len(pairs), total)
        parts.append(torch.stack(columns, dim=1) if columns else torch.zeros(len(batch), 0, 1))
    values = torch.cat(parts).double().numpy()
    return Effects("node", names, values[:, :, 0] if places is None else values, places)


def _sender(graph: ComputationGraph, name: str) -> int:
    if name not in graph.senders:
        raise unknown(f"sending node of the {graph.form} form", name, graph.senders)
    return graph.senders.index(name)


def token_places(tokens: object, n_tokens: int) -> tuple[int, ...] | None:
    """Return the positions that are patched one by one; None for all at once.

    Raises:
        InputError: neither `each`, positions of the model, nor None.
    """
    if tokens is None:
        return None
    if isinstance(tokens, str):
        if tokens != "each":
            raise InputError(f"tokens: expected 'each', positions, or None for all at once, got {tokens!r}")
        return tuple(range(n_tokens))
    places = np.asarray(tokens)
    if places.ndim != 1 or not len(places) or not np.issubdtype(places.dtype, np.integer):
        raise InputError(f"tokens: expected at least one whole number, 'each', or None for all at once, got {tokens!r}")
    wrong = places[(places < 0) | (places >= n_tokens)].tolist()
    if wrong:
        raise InputError(f"tokens: the model has tokens 0 to {n_tokens - 1}, got {wrong[0]}")
    return tuple(places.tolist())


def _effects(
    model: ViT,
    graph: ComputationGraph,
    batch: MeasuredPairs,
    senders: Sequence[int],
    places: tuple[int, ...] | None,
    direction: str,
    at_once: int,
) -> Iterator[Float[Tensor, "image place"]]:
    """Yield the effects node by node, with one column per token, or one for all tokens."""
    clean, corrupted = capture(model, batch.clean), reference(model, batch)
    differences = sender_differences(model, graph.form, clean, corrupted)
    sign = -1 if direction == "noising" else 1
    base = clean if direction == "noising" else corrupted
    runs, start = ReceiverRuns(model, graph, base), batch.values(base.logits)
    for sender in senders:
        moved = []
        for shifts in token_shifts(sign * differences[:, sender], places, max(1, at_once // len(batch))):
            moved += [batch.values(logits) for logits in runs.from_stream(int(graph.sender_depth[sender]), shifts)]
        yield (sign * (torch.stack(moved, dim=1) - start[:, None])).cpu()


def token_shifts(
    change: Float[Tensor, "image token d_model"], places: tuple[int, ...] | None, rows: int
) -> Iterator[Float[Tensor, "row image token d_model"]]:
    """Yield the change at all tokens, or at each of the given tokens only, some rows at a time."""
    if places is None:
        yield change[None]
        return
    for first in range(0, len(places), rows):
        chosen = places[first : first + rows]
        shifts = change.new_zeros(len(chosen), *change.shape)
        for row, token in enumerate(chosen):
            shifts[row, :, token] = change[:, token]
        yield shifts
