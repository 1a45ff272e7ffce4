"""Exact edge patching: what the metric loses when one edge alone is corrupted, or gains when it alone is restored.

noising: s(e) = m(M) − m(M with e carrying o_u(x')). denoising: s(e) = m(∅ with e carrying o_u(x)) − m(∅), where the
corrupted run goes on live behind e. Either is the base run with receiver v's input shifted by ∓(o_u(x) − o_u(x')), so
an edge costs what follows its receiver: about 0.3 forwards on average. Scores of merged edges are not sums.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph
from ..circuits.recipe import DIRECTIONS
from ..models import ShiftedRuns, capture, sender_differences
from .batches import Pairs
from .method import Task
from .scoring import BatchScores, per_image

SHARE = 0.3
"""Forwards per edge, by count, on ViT-S: the mean over edges of what follows the receiver."""


def _exact(task: Task, batch: Pairs) -> BatchScores:
    model, graph = task.model, task.graph
    clean, corrupted = capture(model, batch.clean), capture(model, batch.corrupted)
    differences = sender_differences(model, task.form, clean, corrupted)
    noising = task.direction == "noising"
    runs = ShiftedRuns(model, graph, clean if noising else corrupted)
    change = partial(_changes, runs, graph, differences, batch, -1 if noising else 1, task.batch_size)
    ends = batch.values(clean.logits), batch.values(corrupted.logits)
    moved = torch.cat([change(receiver) for receiver in range(graph.n_receivers)], dim=1)
    return BatchScores(ends[0][:, None] - moved if noising else moved - ends[1][:, None], *ends)


def _changes(
    runs: ShiftedRuns,
    graph: ComputationGraph,
    differences: Tensor,
    batch: Pairs,
    sign: int,
    at_once: int,
    receiver: int,
) -> Float[Tensor, "image edge"]:
    """The metric of the runs in which each of a receiver's edges is patched; at most `at_once` images at a time."""
    values = []
    shifts = sign * differences[:, : int(graph.n_upstream[receiver])].transpose(0, 1)
    for part in shifts.split(max(1, at_once // len(batch))):
        values += [batch.values(logits) for logits in runs.logits(receiver, part)]
    return torch.stack(values, dim=1)


EXACT = per_image(
    _exact,
    key="exact",
    name="Exact edge patching",
    paper="Conmy et al. 2023, arXiv 2304.14997",
    passes=lambda graph: (2 + SHARE * graph.n_edges, 0),
    directions=DIRECTIONS,
    additive=False,
)
