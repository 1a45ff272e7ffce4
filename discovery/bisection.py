"""Circuit size by bisection: the best edges, connected, that keep a target share of the model's behaviour.

After GIT (Cho, CVPR 2026), of which only summaries were available: bisection searches a threshold τ on scores for a
target share of the behaviour in about 15 evaluations; edges in the buffer [τ (1 − β), τ) are added back if needed; the
circuit is made connected. Here the bisection is over the number of edges, first between sizes of the geometric grid,
then between two of them. The rule for the buffer is our own: the search uses every other image (all images if that half
has no gap), the result is checked on all images, and the buffer is added if the result falls short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..circuits import SHARES, Circuit, EdgeScores, Evaluation, Metric, connected, shares_error, size_grid
from ..errors import InputError, unknown
from ..evaluation import DEFAULT, Execution, ImagePairs, evaluate, outcomes
from ..evaluation.evaluate import undefined_reason
from ..models import ViT

SPLIT_FROM = 8
"""Number of images from which the search uses only every other one."""


def smallest_by_bisection(
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
    """Return a small connected circuit of the best edges that keeps the target share.

    The share need not increase with size: the result keeps the target, and the next smaller size that was tried does
    not. Use images that are used for nothing else (selection images). Costs the full and the empty run on all images,
    about log₂(edges) + 1 evaluations of every other image (of all images if there are fewer than eight or the half has
    no gap), then evaluations of all images until one keeps the target: one if the first does, two with the buffer, at
    most one per size of the grid. An evaluation is the full, the empty and the circuit's run.

    Args:
        target: share of the gap between full model and empty circuit to keep, in (0, 1].
        of: `retention` (of the accuracy) or `faithfulness` (of the metric).
        buffer: β, in [0, 1).
        absolute: rank by magnitude, as GIT does.

    Returns:
        The circuit. `size_requested` is the number of edges before connecting edges were added, and `extraction`
        includes the target. All edges, with the reason in `extraction`, if the share is undefined on these images or no
        smaller circuit keeps it.

    Raises:
        InputError: target, share or buffer out of range, scores that are shares, or any error of `evaluate`.

    Examples:
        >>> smallest_by_bisection(model, pairs, scores, target=0.8, of="faithfulness").n_edges < graph.n_edges
        True
    """
    if scores.shares:
        raise shares_error("bisection")
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
    reason = undefined_reason(gaps)
    if reason is not None:
        return replace(circuit(n_edges), extraction=f"{text}, all edges: {reason}")
    search_images = _search_images(gaps)

    @cache
    def keeps(size: int) -> bool:
        return _share(run(size, search_images), of) >= target

    size = _smallest(n_edges, keeps)
    for wanted in (size, with_buffer(scores, size, buffer, absolute), *size_grid(n_edges)):
        if size <= wanted < n_edges and _share(run(wanted, slice(None)), of) >= target:
            kept = text if wanted == size else f"{text}, {wanted - size} edges added back"
            return replace(circuit(wanted), extraction=kept)
    return replace(circuit(n_edges), extraction=f"{text}, all edges: no smaller circuit keeps it")


def _gaps(model: ViT, pairs: ImagePairs, metric: str | Metric, execution: Execution, of: str) -> Float[Tensor, "image"]:
    """Return full model minus empty circuit, per image, of the figure whose share is kept."""
    full, empty = outcomes(model, pairs, [], metric=metric, execution=execution)
    return full.hit - empty.hit if of == "retention" else full.metric - empty.metric


def _search_images(gaps: Float[Tensor, "image"]) -> slice:
    """Return every other image, or all images if there are few or the half has no gap."""
    half = slice(None, None, 2)
    return half if len(gaps) >= SPLIT_FROM and float(gaps[half].mean()) > 0 else slice(None)


def _smallest(n_edges: int, keeps: Callable[[int], bool]) -> int:
    """Return a size that keeps the target while the next smaller does not; all edges keep it by definition."""
    grid = [0, *size_grid(n_edges)]
    low, high = 0, len(grid) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(grid[middle]) else (middle, high)
    low, high = grid[low], grid[high]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def with_buffer(scores: EdgeScores, size: int, buffer: float, absolute: bool) -> int:
    """Return how many edges score at least τ (1 − β), where τ is the lowest score of the `size` best."""
    value = np.sort(np.abs(scores.mean) if absolute else scores.mean)[::-1]
    tau = value[size - 1]
    return int((value >= tau - buffer * abs(tau)).sum())


def _share(evaluation: Evaluation, of: str) -> float:
    """Return the kept share of the mean gap, without a check of its standard error."""
    kind = {"retention": "accuracy", "faithfulness": "metric"}[of]
    full, empty, circuit = (getattr(evaluation, f"{kind}_{run}") for run in ("full", "empty", "circuit"))
    return (circuit - empty) / (full - empty)
