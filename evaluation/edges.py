"""Exact activation patching of single edges.

noising: s(e) = m(M) − m(M with e carrying o_u(x')), what the metric loses when one edge is corrupted.
denoising: s(e) = m(∅ with e carrying o_u(x)) − m(∅), what it gains when one edge is restored.

Everything downstream of the edge is recomputed. Either run is the base run with the input of receiver v shifted by
∓(o_u(x) − o_u(x')), so an edge costs the computation after its receiver: about 0.3 forward passes on average. The score
of a merged edge is not the sum of the scores of its parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import ComputationGraph, Form, Metric
from ..circuits.recipe import Direction
from ..errors import InputError
from ..models import ReceiverRuns, ViT, capture, runs_model, sender_differences
from .effects import Effects
from .execution import DEFAULT, Execution
from .measured import MeasuredPairs, measure
from .pairs import ImagePairs
from .reference import check_direction, reference

FORWARDS_PER_EDGE = 0.3
"""Mean cost over edges of a run from a receiver on, in forward passes, by operation count on ViT-S."""


class EdgeEffects(NamedTuple):
    """Effects of edges on one batch, and the metric of the clean and corrupted runs."""

    effects: Float[Tensor, "image edge"]
    clean: Float[Tensor, "image"]
    corrupted: Float[Tensor, "image"]


@runs_model
def patch_edges(
    model: ViT,
    pairs: ImagePairs,
    edges: Sequence[str],
    *,
    form: Form = "split",
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    execution: Execution = DEFAULT,
) -> Effects:
    """Patch the given edges one at a time; the method `exact` does this for all edges.

    Args:
        edges: distinct names such as `a0.h1->a2.h0<q>`.
        form: form of the graph.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        execution: batch size.

    Returns:
        Effects per image `[image, edge]`, in the order of `edges`; positive if the edge raises the metric.

    Raises:
        InputError: an unknown or repeated name, pairs or a metric that do not fit, or `denoising` without corrupted
            images.

    Examples:
        >>> patch_edges(model, pairs, ["input->m0", "a0.h1->a2.h0<q>"]).to_pandas()
                      edge    effect       std
        0        input->m0 ...
        1  a0.h1->a2.h0<q> ...
    """
    graph, names = model.graph(form), tuple(edges)
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise InputError(f"edges: expected each edge once, got {repeated[0]} {names.count(repeated[0])} times")
    indices = np.array([graph.index_of(name) for name in names], int)
    measured, size = measure(model, pairs, metric), execution.size(model, form)
    check_direction(direction, measured)
    parts = [edge_effects(model, graph, batch, indices, direction, size).effects for batch in measured.batches(size)]
    return Effects("edge", names, torch.cat(parts).double().cpu().numpy())


def edge_effects(
    model: ViT,
    graph: ComputationGraph,
    batch: MeasuredPairs,
    edges: Int[np.ndarray, "edge"],
    direction: Direction,
    at_once: int,
) -> EdgeEffects:
    """Return the effects of edges, given by flat index; runs at most `at_once` images, or one edge, at a time."""
    clean, corrupted = capture(model, batch.clean), reference(model, batch)
    differences = sender_differences(model, graph.form, clean, corrupted)
    ends = batch.values(clean.logits), batch.values(corrupted.logits)
    sign, base, start = (-1, clean, ends[0]) if direction == "noising" else (1, corrupted, ends[1])
    runs = ReceiverRuns(model, graph, base)
    scores = start.new_zeros(len(batch), len(edges))
    receivers = graph.edge_receiver[edges]
    for receiver in np.unique(receivers):
        places = np.flatnonzero(receivers == receiver)
        senders = torch.from_numpy(graph.edge_sender[edges[places]]).to(differences.device)
        moved = _moved(runs, int(receiver), sign, differences, senders, batch, max(1, at_once // len(batch)))
        scores[:, torch.from_numpy(places).to(scores.device)] = sign * (moved - start[:, None])
    return EdgeEffects(scores, *ends)


def _moved(
    runs: ReceiverRuns,
    receiver: int,
    sign: int,
    differences: Tensor,
    senders: Int[Tensor, "edge"],
    batch: MeasuredPairs,
    rows: int,
) -> Float[Tensor, "image edge"]:
    """Return the metric of runs with one edge of the receiver patched each."""
    values = []
    for part in senders.split(rows):
        shifts = sign * differences[:, part].transpose(0, 1)
        values += [batch.values(logits) for logits in runs.logits(receiver, shifts)]
    return torch.stack(values, dim=1)
