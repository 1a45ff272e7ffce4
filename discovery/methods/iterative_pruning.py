"""Iterative pruning: score, drop the least, score again in what is left.

In a round, C is what is left (at first every edge), and an edge's score is gate-IG from the empty circuit to C,

    s_C(e) = ∫ ∂m/∂g_e dα  at  g = α 1_C ,      Σ_{e in C} s_C(e) = m(C) − m(∅)

by midpoints over `steps`; the sum with the plain gradient only. The `fraction` of C that scores least goes (at least
one edge): least in magnitude, or, with `rank = "signed"`, the most harmful first. Edges on no path from `input` to
`logits` in C score exactly 0, and no run is made once no path is left. Among equal scores, the edge that scored less in
the round before goes first, then the one that comes first in the graph. So it goes on to the last edge. The score of an
edge is its place in that order over the number of edges: 1 for the last one left, no sign.

No paper that we know describes this for circuits; the schedule is that of iterative pruning at initialisation
(SNIP-it: Verdenius et al. 2020; FORCE: de Jorge et al. 2021), with gates for weights. Cost: at most `rounds · steps`
gated forwards and backwards, rounds = log(edges) / −log(1 − fraction), about 40 on the `split` form of ViT-S.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool

from ...circuits import ComputationGraph, EdgeScores
from ...circuits.kinds import choice, number
from ...circuits.recipe import Scalar
from ..gated_images import Gains, GatedImages, round_trace
from ..method import GRADIENT, Found, Method, Task, path_steps


def sizes(n_edges: int, fraction: float) -> list[int]:
    """Edges left after each round: from fewer than all to none."""
    left, result = n_edges, []
    while left:
        left -= max(1, round(fraction * left))
        result.append(left)
    return result


def _iterative_pruning(task: Task, *, fraction: int | float, steps: Scalar, rank: str, gradient: str) -> Found:
    images, n = GatedImages(task), task.graph.n_edges
    rounds = sizes(n, fraction)
    kept = task.journal.read()
    dropped = kept.get("dropped", np.empty(0, int))  # in the order in which they went
    last = kept.get("last", np.zeros(n))
    gained = kept.get("gained", np.empty((0, 3))).tolist()  # per round: the sum, by how many steps, how far off
    for index in range(len(gained), len(rounds)):
        inside = np.ones(n, bool)
        inside[dropped] = False
        found = _gains(images, task.graph.prune(inside), steps, gradient)
        score = found.each.cpu().numpy()
        value = np.abs(score) if rank == "magnitude" else score
        candidates = np.flatnonzero(inside)
        order = candidates[np.lexsort((last[candidates], value[candidates]))]  # ties: what was less before
        dropped = np.concatenate([dropped, order[: len(candidates) - rounds[index]]])
        last = np.where(inside, value, last)
        gained.append([float(score[inside].sum()), found.steps, found.off])
        task.progress(index + 1, len(rounds))
        task.journal.keep({"dropped": dropped, "last": last, "gained": np.array(gained)})
    places = np.empty(n)
    places[dropped] = np.arange(1, n + 1) / n
    trace = {"left": [n, *rounds[:-1]], **round_trace(gained, "gain")}
    return Found(task.graph, EdgeScores(task.graph, places, additive=False, signed=False), trace=trace)


def _gains(images: GatedImages, joined: Bool[np.ndarray, "edge"], steps: Scalar, gradient: str) -> Gains:
    """What opening the edges of a circuit gains by each; exactly 0 for all others, where a run would give rounding."""
    gates = torch.from_numpy(joined).to(images.device, torch.float64)
    if not joined.any():
        return Gains(gates, 0, 0.0)
    found = images.integrated(torch.zeros_like(gates), gates, steps, gradient)
    return found._replace(each=found.each * gates)


def _passes(graph: ComputationGraph, fraction: int | float, steps: int, rank: str, gradient: str) -> tuple[int, int]:
    runs = len(sizes(graph.n_edges, fraction)) * steps
    return 2 + runs, runs


ITERATIVE_PRUNING = Method(
    key="iterative-pruning",
    name="Iterative pruning: score, drop the least, score again",
    source="schedule: Verdenius, Stol & Forré 2020, arXiv 2006.00896; de Jorge et al. 2021, arXiv 2006.09081",
    function=_iterative_pruning,
    passes=_passes,
    version=2,  # 1 ordered edges on no path by rounding
    params={
        "fraction": number(0.2, "a share of the edges left, in (0, 1)", lambda v: 0 < v < 1),
        "steps": path_steps(5),
        "rank": choice("magnitude", "signed"),
        "gradient": GRADIENT,
    },
    signed=False,
    additive=False,
)
