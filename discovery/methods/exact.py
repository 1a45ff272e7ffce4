"""Exact edge patching: what the metric loses when one edge alone is corrupted, or gains when it alone is restored.

noising: s(e) = m(M) − m(M with e carrying o_u(x')). denoising: s(e) = m(∅ with e carrying o_u(x)) − m(∅), where the
corrupted run goes on live behind e. Either is the base run with receiver v's input shifted by ∓(o_u(x) − o_u(x')), so
an edge costs what follows its receiver: about 0.3 forwards on average. Scores of merged edges are not sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...circuits import ComputationGraph, Form
from ...circuits.recipe import DIRECTIONS, Direction
from ...errors import InputError, unknown
from ...models import ShiftedRuns, ViT, capture, runs_model, sender_differences
from ..batches import Indices, Pairs
from ..batches import batch_size as choose_batch_size
from ..costs import FORWARDS_PER_EDGE
from ..effects import Effects
from ..method import NO_GRADIENT, Task
from ..metrics import get_metric
from ..scoring import BatchScores, per_image


@runs_model
def patch_edges(
    model: ViT,
    clean: Tensor,
    corrupted: Tensor,
    labels: Indices,
    edges: Sequence[str],
    *,
    targets: Indices | None = None,
    form: Form = "split",
    metric: str = "logit",
    direction: Direction = "noising",
    batch_size: int | None = None,
) -> Effects:
    """Patch some edges, each alone: what the method `exact` does for all of them.

    Args:
        clean: normalised images `[image, channel, height, width]`.
        corrupted: what each is contrasted with.
        labels: true class per image.
        edges: names such as `a0.h1->a2.h0<q>`, each once.
        targets: target class per image, for `logit-diff`.
        form: of the graph that the edges belong to.
        metric: a key of `METRICS`.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        batch_size: images at a time; by default what fits a fixed budget.

    Returns:
        Effects per image `[image, edge]`, in the order of `edges`; positive where the edge raises the metric.

    Raises:
        InputError: unknown or repeated names, images or classes that do not fit.
    """
    if direction not in DIRECTIONS:
        raise unknown("direction", direction, DIRECTIONS)
    graph, names = model.graph(form), tuple(edges)
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        raise InputError(f"edges: expected each edge once, got {doubled[0]} {names.count(doubled[0])} times")
    asked = np.array([graph.index_of(name) for name in names], int)
    pairs = Pairs.checked(model, clean, corrupted, labels, targets, get_metric(metric))
    size = choose_batch_size(model, form, batch_size)
    parts = [_patched(model, graph, batch, asked, direction, size).scores for batch in pairs.batches(size)]
    return Effects("edge", names, torch.cat(parts).double().cpu().numpy())


def _exact(task: Task, batch: Pairs) -> BatchScores:
    return _patched(task.model, task.graph, batch, np.arange(task.graph.n_edges), task.direction, task.batch_size)


def _patched(
    model: ViT, graph: ComputationGraph, batch: Pairs, edges: Int[np.ndarray, "edge"], direction: str, at_once: int
) -> BatchScores:
    """Scores of some edges; runs of at most `at_once` images, or of one edge, at a time."""
    clean, corrupted = capture(model, batch.clean), capture(model, batch.corrupted)
    differences = sender_differences(model, graph.form, clean, corrupted)
    ends = batch.values(clean.logits), batch.values(corrupted.logits)
    sign, base, start = (-1, clean, ends[0]) if direction == "noising" else (1, corrupted, ends[1])
    runs = ShiftedRuns(model, graph, base)
    scores = start.new_zeros(len(batch), len(edges))
    receivers = graph.edge_receiver[edges]
    for receiver in np.unique(receivers):
        places = np.flatnonzero(receivers == receiver)
        senders = torch.from_numpy(graph.edge_sender[edges[places]]).to(differences.device)
        moved = _moved(runs, int(receiver), sign, differences, senders, batch, max(1, at_once // len(batch)))
        scores[:, torch.from_numpy(places).to(scores.device)] = sign * (moved - start[:, None])
    return BatchScores(scores, *ends)


def _moved(
    runs: ShiftedRuns,
    receiver: int,
    sign: int,
    differences: Tensor,
    senders: Int[Tensor, "edge"],
    batch: Pairs,
    rows: int,
) -> Float[Tensor, "image edge"]:
    """The metric of the runs in which one of a receiver's edges is patched."""
    values = []
    for part in senders.split(rows):
        shifts = sign * differences[:, part].transpose(0, 1)
        values += [batch.values(logits) for logits in runs.logits(receiver, shifts)]
    return torch.stack(values, dim=1)


EXACT = per_image(
    _exact,
    key="exact",
    name="Exact edge patching",
    paper="Conmy et al. 2023, arXiv 2304.14997",
    passes=lambda graph: (2 + FORWARDS_PER_EDGE * graph.n_edges, 0),
    directions=DIRECTIONS,
    additive=False,
    lacks=NO_GRADIENT,
)
