"""The smallest greedy circuit that keeps a target share of the model's accuracy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..circuits import Circuit, EdgeScores, Evaluation, Metric, joining_order, size_grid
from ..errors import InputError
from ..evaluation import DEFAULT, Execution, ImagePairs, evaluate_many
from ..models import ViT

_AT_ONCE = 4
"""Sizes evaluated together; they share the full and the empty run."""


def smallest_with_retention(
    model: ViT,
    pairs: ImagePairs,
    scores: EdgeScores,
    *,
    target: float,
    metric: str | Metric = "logit",
    absolute: bool = False,
    execution: Execution = DEFAULT,
) -> Circuit:
    """Return the smallest greedy circuit on the geometric grid of sizes (ratio 1.25) that reaches the target.

    Sizes are tried in ascending order, since retention need not increase with size. Use images that are used for
    nothing else (selection images).

    Args:
        target: share of the accuracy gap between full model and empty circuit to keep, in (0, 1].

    Returns:
        The circuit. `size_requested` is its size before pruning, and `extraction` includes the target. All edges, with
        the reason in `extraction`, if retention is undefined on these images or no size reaches the target.

    Raises:
        InputError: target out of range, or any error of `evaluate`.

    Examples:
        >>> smallest_with_retention(model, pairs, scores, target=0.8).n_edges < graph.n_edges
        True
    """
    if not 0 < target <= 1:
        raise InputError(f"target: expected a share in (0, 1], got {target}")
    text = f"retention(target={target:g}{', absolute' if absolute else ''})"
    order = joining_order(scores.graph, scores.mean, "greedy", absolute=absolute)
    quiet = replace(execution, progress=None)
    seen: set[bytes] = set()
    candidates = []
    for size in size_grid(scores.graph.n_edges):
        circuit = Circuit.pruned(scores.graph, order[:size], size_requested=size, extraction=text, scores=scores)
        key = np.packbits(circuit.members).tobytes()
        if circuit.n_edges and key not in seen:
            seen.add(key)
            candidates.append(circuit)
    for start in range(0, len(candidates), _AT_ONCE):
        tried = candidates[start : start + _AT_ONCE]
        found = evaluate_many(model, pairs, tried, metric=metric, execution=quiet)
        for circuit, evaluation in zip(tried, found, strict=True):
            if evaluation.retention is None:
                return replace(candidates[-1], extraction=f"{text}, all edges: {_reason(evaluation)}")
            if evaluation.retention >= target:
                return circuit
    return replace(candidates[-1], extraction=f"{text}, all edges: no smaller circuit reaches it")


def _reason(evaluation: Evaluation) -> str:
    return evaluation.reasons["retention"]
