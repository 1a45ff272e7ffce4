"""Iterative pruning: score the remaining edges, drop the worst, and score again.

In a round, C is the set of remaining edges (initially all), and an edge's score is gate-IG from the empty circuit to C,

    s_C(e) = ∫ ∂m/∂g_e dα  at  g = α 1_C ,      Σ_{e in C} s_C(e) = m(C) − m(∅)

by midpoints over `steps`; the sum holds only for the plain gradient. The `fraction` of C with the lowest scores is
dropped (at least one edge): lowest in magnitude or, with `rank = "signed"`, the most harmful first. Edges on no path
from `input` to `logits` in C score exactly 0, and no run is made if no path is left. Ties are dropped in order of the
score in the previous round, then of the graph. This continues to the last edge. The score of an edge is its position in
that order divided by the number of edges: 1 for the last edge left; unsigned.

We know of no paper that describes this for circuits; the schedule is that of iterative pruning at initialisation
(SNIP-it: Verdenius et al. 2020; FORCE: de Jorge et al. 2021), with gates instead of weights. Costs at most
`rounds · steps` gated forward and backward passes, rounds = log(edges) / −log(1 − fraction), about 40 on the `split`
form of ViT-S.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool

from ...circuits import ComputationGraph, EdgeScores
from ...circuits.kinds import choice, number
from ...circuits.recipe import Scalar
from ..gated_images import Gains, GatedImages, round_trace
from ..method import GRADIENT, Method, MethodOutput, Task, path_steps


def sizes(n_edges: int, fraction: float) -> list[int]:
    """Return the number of edges left after each round, down to 0."""
    left, result = n_edges, []
    while left:
        left -= max(1, round(fraction * left))
        result.append(left)
    return result


def _iterative_pruning(task: Task, *, fraction: int | float, steps: Scalar, rank: str, gradient: str) -> MethodOutput:
    images, n = GatedImages(task), task.graph.n_edges
    rounds = sizes(n, fraction)
    kept = task.journal.read()
    dropped = kept.get("dropped", np.empty(0, int))  # in the order in which they were dropped
    last = kept.get("last", np.zeros(n))
    gained = kept.get("gained", np.empty((0, 3))).tolist()  # per round: sum, steps, residual
    for index in range(len(gained), len(rounds)):
        inside = np.ones(n, bool)
        inside[dropped] = False
        found = _gains(images, task.graph.prune(inside), steps, gradient)
        score = found.per_edge.cpu().numpy()
        value = np.abs(score) if rank == "magnitude" else score
        candidates = np.flatnonzero(inside)
        order = candidates[np.lexsort((last[candidates], value[candidates]))]  # ties: by the previous score
        dropped = np.concatenate([dropped, order[: len(candidates) - rounds[index]]])
        last = np.where(inside, value, last)
        gained.append([float(score[inside].sum()), found.steps, found.residual])
        task.progress(index + 1, len(rounds))
        task.journal.save({"dropped": dropped, "last": last, "gained": np.array(gained)})
    places = np.empty(n)
    places[dropped] = np.arange(1, n + 1) / n
    trace = {"left": [n, *rounds[:-1]], **round_trace(gained, "gain")}
    return MethodOutput(task.graph, EdgeScores(task.graph, places, additive=False, signed=False), trace=trace)


def _gains(images: GatedImages, joined: Bool[np.ndarray, "edge"], steps: Scalar, gradient: str) -> Gains:
    """Return the gain of each edge of a circuit; exactly 0 for all other edges, without rounding errors."""
    gates = torch.from_numpy(joined).to(images.device, torch.float64)
    if not joined.any():
        return Gains(gates, 0, 0.0)
    found = images.integrated(torch.zeros_like(gates), gates, steps, gradient)
    return found._replace(per_edge=found.per_edge * gates)


def _passes(graph: ComputationGraph, fraction: int | float, steps: int, rank: str, gradient: str) -> tuple[int, int]:
    runs = len(sizes(graph.n_edges, fraction)) * steps
    return 2 + runs, runs


ITERATIVE_PRUNING = Method(
    key="iterative-pruning",
    name="Iterative pruning: score, drop the least, score again",
    source="schedule: Verdenius, Stol & Forré 2020, arXiv 2006.00896; de Jorge et al. 2021, arXiv 2006.09081",
    function=_iterative_pruning,
    passes=_passes,
    version=2,  # 1 ranked edges on no path by rounding errors
    params={
        "fraction": number(0.2, "a share of the edges left, in (0, 1)", lambda v: 0 < v < 1),
        "steps": path_steps(5),
        "rank": choice("magnitude", "signed"),
        "gradient": GRADIENT,
    },
    signed=False,
    additive=False,
)
