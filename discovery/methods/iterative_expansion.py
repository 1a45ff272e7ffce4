"""Iterative expansion: score the edges that are missing, take the best, and score again.

In a round, C is the set of edges taken so far (initially none), and an edge's score is gate-IG from C to the full
model,

    s_C(e) = ∫ ∂m/∂g_e dα  at  g = 1_C + α (1 − 1_C) ,      Σ_{e not in C} s_C(e) = m(M) − m(C)

by midpoints over `steps`: its share of what C lacks (the sum holds only for the plain gradient). C grows by `fraction`
of its size (at least one edge), by the edges with the largest score in magnitude or, with `rank = "signed"`, with sign.
This continues to the last edge. The score of an edge is its position from the end divided by the number of edges: 1 for
the first edge taken; unsigned.

We know of no paper that describes this; it is iterative pruning in reverse. The first round ranks as gate-IG does.
Costs `rounds · steps` gated forward and backward passes, rounds = log(edges) / log(1 + fraction), about 40 on the
`split` form of ViT-S.
"""

from __future__ import annotations

import numpy as np
import torch

from ...circuits import ComputationGraph, EdgeScores, size_grid
from ...circuits.kinds import choice, number
from ...circuits.recipe import Scalar
from ..gated_images import GatedImages, round_trace
from ..method import GRADIENT, Method, MethodOutput, Task, path_steps


def _iterative_expansion(task: Task, *, fraction: int | float, steps: Scalar, rank: str, gradient: str) -> MethodOutput:
    images, n = GatedImages(task), task.graph.n_edges
    rounds = size_grid(n, 1 + fraction)
    kept = task.journal.read()
    taken = kept.get("taken", np.empty(0, int))  # in the order in which they were taken
    gained = kept.get("gained", np.empty((0, 3))).tolist()  # per round: sum, steps, residual
    for index in range(len(gained), len(rounds)):
        outside = np.ones(n, bool)
        outside[taken] = False
        gates = torch.from_numpy(~outside).to(images.device, torch.float64)
        found = images.integrated(gates, torch.ones_like(gates), steps, gradient)
        score = found.per_edge.cpu().numpy()
        value = np.abs(score) if rank == "magnitude" else score
        candidates = np.flatnonzero(outside)
        order = candidates[np.argsort(-value[candidates], kind="stable")]
        taken = np.concatenate([taken, order[: rounds[index] - len(taken)]])
        gained.append([float(score[outside].sum()), found.steps, found.residual])
        task.progress(index + 1, len(rounds))
        task.journal.save({"taken": taken, "gained": np.array(gained)})
    places = np.empty(n)
    places[taken] = np.arange(n, 0, -1) / n
    trace = {"taken": [0, *rounds[:-1]], **round_trace(gained, "missing")}
    return MethodOutput(task.graph, EdgeScores(task.graph, places, additive=False, signed=False), trace=trace)


def _passes(graph: ComputationGraph, fraction: int | float, steps: int, rank: str, gradient: str) -> tuple[int, int]:
    runs = len(size_grid(graph.n_edges, 1 + fraction)) * steps
    return 2 + runs, runs


ITERATIVE_EXPANSION = Method(
    key="iterative-expansion",
    name="Iterative expansion: score what is missing, take the best, score again",
    source="ours: iterative pruning in reverse",
    function=_iterative_expansion,
    passes=_passes,
    params={
        "fraction": number(0.25, "a number above 0, by which the circuit grows", lambda v: v > 0),
        "steps": path_steps(5),
        "rank": choice("magnitude", "signed"),
        "gradient": GRADIENT,
    },
    signed=False,
    additive=False,
)
