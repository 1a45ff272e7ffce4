"""The metric per image of many edge sets of one graph on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..circuits import Circuit, ComputationGraph, Metric
from ..errors import InputError
from ..models import ViT
from .evaluate import outcomes, undefined_reason
from .execution import Execution
from .pairs import ImagePairs

Members = Sequence[Bool[np.ndarray, "edge"]]


class EdgeSetRuns:
    """Runs a model with only the edges of a set open, and reports progress over `total` runs.

    Edges outside a set carry the corrupted value. A set need not be pruned: edges on no path from `input` to `logits`
    have no effect. With constant senders, edges out of a component that reads only constants have one.

    Attributes:
        full: the metric of the unpatched model, per image; set by the first call.
        empty: the metric with every edge corrupted, per image; set by the first call.
    """

    full: Float[np.ndarray, "image"]
    empty: Float[np.ndarray, "image"]

    def __init__(
        self,
        model: ViT,
        graph: ComputationGraph,
        pairs: ImagePairs,
        metric: str | Metric,
        execution: Execution,
        total: int,
    ) -> None:
        self.model, self.graph, self.pairs = model, graph, pairs
        self.metric, self.execution = metric, execution
        self.total, self.done = total, 0

    def __call__(self, members: Members) -> Float[np.ndarray, "circuit image"]:
        """Return the metric of each edge set.

        Raises:
            InputError: as for `evaluate`.
        """
        circuits, before = [Circuit(self.graph, m) for m in members], self.done

        def report(done: int, total: int) -> None:
            self.done = before + max(0, done - (total - len(members)))
            self.execution.report(self.done, self.total)

        execution = replace(self.execution, progress=report)
        found = outcomes(self.model, self.pairs, circuits, metric=self.metric, execution=execution)
        full, empty, *values = (outcome.metric.numpy() for outcome in found)
        self.full, self.empty = full, empty
        return np.stack(values) if values else np.zeros((0, len(full)))

    @property
    def gap(self) -> float:
        """Mean metric of the full model minus that of the empty circuit."""
        return float(self.full.mean() - self.empty.mean())

    @property
    def reason(self) -> str | None:
        """Why shares of the gap are undefined; None if they are defined."""
        return undefined_reason(torch.from_numpy(self.full - self.empty))


def require_edges(circuit: Circuit) -> Circuit:
    """Return the circuit.

    Raises:
        InputError: it has no edges.
    """
    if not circuit.n_edges:
        raise InputError("circuit: expected at least one edge, got the empty circuit; extract a larger one")
    return circuit


def require_whole_number(name: str, value: int, minimum: int) -> int:
    """Return the value as an int.

    Raises:
        InputError: it is not a whole number of at least `minimum`.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < minimum:
        raise InputError(f"{name}: expected a whole number of at least {minimum}, got {value!r}")
    return int(value)
