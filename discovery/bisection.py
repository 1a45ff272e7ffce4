"""A circuit to a target by bisection: the best edges down to a threshold, connected, and a buffer where it is needed.

After GIT (Cho, CVPR 2026), of which only summaries could be read: a threshold τ on scores is searched by bisection for
a wanted share of the model's behaviour, about 15 evaluations; edges in the buffer [τ (1 − β), τ) come back if needed;
connectivity is repaired. What is bisected here is the number of edges: first between the sizes of the geometric grid,
then between two of them. When the buffer is needed is this program's own rule: the search runs on every other image,
(on all, where that half has no gap), its result is confirmed on all, and the buffer comes back where it falls short
there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..circuits import Circuit, EdgeScores, Evaluation, Metric, connected, refuse_shares, size_grid
from ..errors import InputError, unknown
from ..evaluation import DEFAULT, Execution, ImagePairs, evaluate, outcomes
from ..evaluation.evaluate import why_undefined
from ..models import ViT

SHARES = ("retention", "faithfulness")
SPLIT_FROM = 8
"""Images from which on the search takes every other one."""


def bisected(
    model: ViT,
    pairs: ImagePairs,
    scores: EdgeScores,
    *,
    target: float,
    of: str = "retention",
    buffer: float = 0.1,
    metric: str | Metric = "logit",
    absolute: bool = False,
    execution: Execution = DEFAULT,
) -> Circuit:
    """A small circuit of best edges, connected, that keeps the target share.

    The share need not rise with size: what is found keeps the target, and the next smaller size that was tried does
    not. Give images that are used for nothing else (selection images). Takes the full and the empty run of all images,
    about log₂(edges) + 1 evaluations of every other image (of all, where there are fewer than eight or the half has no
    gap), then evaluations of all images until one keeps the target: one if the first does, two with the buffer, at
    worst one for each size of the grid. An evaluation is the full, the empty and the circuit's run.

    Args:
        target: share of the gap between full model and empty circuit to keep, in (0, 1].
        of: `retention` (of the accuracy) or `faithfulness` (of the metric).
        buffer: β, in [0, 1).
        absolute: rank by magnitude, as GIT does.

    Returns:
        The circuit; `size_requested` counts its edges before edges that connect were added, `extraction` tells the
        target. Where the share has no meaning on these images, or nothing smaller keeps it, all edges, and
        `extraction` says so.

    Raises:
        InputError: target, share or buffer out of range, scores that are shares, or what `evaluate` raises.
    """
    if scores.shares:
        raise refuse_shares("bisection")
    if not 0 < target <= 1:
        raise InputError(f"target: expected a share in (0, 1], got {target}")
    if not 0 <= buffer < 1:
        raise InputError(f"buffer: expected a share in [0, 1), got {buffer}")
    if of not in SHARES:
        raise unknown("share", of, SHARES)
    n_edges = scores.graph.n_edges
    text = f"bisection(target={target:g}, of={of}, buffer={buffer:g}{', absolute' if absolute else ''})"

    def circuit(size: int) -> Circuit:
        return replace(connected(scores, size, absolute=absolute), extraction=text)

    def run(size: int, every: slice) -> Evaluation:
        return evaluate(model, pairs[every], circuit(size), metric=metric, execution=quiet)

    quiet = replace(execution, progress=None)
    gaps = _gaps(model, pairs, metric, quiet, of)
    reason = why_undefined(gaps)
    if reason is not None:
        return replace(circuit(n_edges), extraction=f"{text}, all edges: {reason}")
    searched = _searched(gaps)

    @cache
    def keeps(size: int) -> bool:
        return _share(run(size, searched), of) >= target

    size = _smallest(n_edges, keeps)
    for wanted in (size, with_buffer(scores, size, buffer, absolute), *size_grid(n_edges)):
        if size <= wanted < n_edges and _share(run(wanted, slice(None)), of) >= target:
            kept = text if wanted == size else f"{text}, {wanted - size} edges given back"
            return replace(circuit(wanted), extraction=kept)
    return replace(circuit(n_edges), extraction=f"{text}, all edges: no smaller circuit keeps it")


def _gaps(model: ViT, pairs: ImagePairs, metric: str | Metric, execution: Execution, of: str) -> Float[Tensor, "image"]:
    """Full model minus empty circuit, of what the share is taken of."""
    full, empty = outcomes(model, pairs, [], metric=metric, execution=execution)
    return full.hit - empty.hit if of == "retention" else full.metric - empty.metric


def _searched(gaps: Float[Tensor, "image"]) -> slice:
    """Every other image, or all of them: where there are few, or where the half has no gap to keep a share of."""
    half = slice(None, None, 2)
    return half if len(gaps) >= SPLIT_FROM and float(gaps[half].mean()) > 0 else slice(None)


def _smallest(n_edges: int, keeps: Callable[[int], bool]) -> int:
    """A size that keeps the target while the next smaller does not, by bisection; all edges keep it by definition."""
    grid = [0, *size_grid(n_edges)]
    fails, holds = 0, len(grid) - 1
    while holds - fails > 1:
        middle = (fails + holds) // 2
        fails, holds = (fails, middle) if keeps(grid[middle]) else (middle, holds)
    low, high = grid[fails], grid[holds]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def with_buffer(scores: EdgeScores, size: int, buffer: float, absolute: bool) -> int:
    """How many edges score at least τ (1 − β), τ being the score of the last of the `size` best."""
    value = np.sort(np.abs(scores.mean) if absolute else scores.mean)[::-1]
    tau = value[size - 1]
    return int((value >= tau - buffer * abs(tau)).sum())


def _share(evaluation: Evaluation, of: str) -> float:
    """The share kept, by means alone: a search on few images asks for no standard error."""
    kind = {"retention": "accuracy", "faithfulness": "metric"}[of]
    full, empty, alone = (getattr(evaluation, f"{kind}_{run}") for run in ("full", "empty", "circuit"))
    return (alone - empty) / (full - empty)
