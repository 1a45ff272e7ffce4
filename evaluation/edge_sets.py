"""The metric of many edge sets of one graph, image by image, on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..circuits import Circuit, ComputationGraph, Metric
from ..errors import InputError
from ..models import ViT
from .evaluate import outcomes, why_undefined
from .execution import Execution
from .pairs import ImagePairs

Members = Sequence[Bool[np.ndarray, "edge"]]


class EdgeSetRuns:
    """Runs edge sets of a graph alone, and reports how many of `total` are done.

    Edges outside a set carry the corrupted value. A set need not be pruned: what is on no path from `input` to `logits`
    changes nothing.

    Attributes:
        full: the metric of the plain model, per image; known once anything was run.
        empty: the metric with every edge corrupted, per image.
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
        """The metric of each edge set alone.

        Raises:
            InputError: as `evaluate`.
        """
        circuits, before = [Circuit(self.graph, m) for m in members], self.done

        def report(done: int, total: int) -> None:
            self.done = before + max(0, done - (total - len(members)))
            self.execution.report(self.done, self.total)

        execution = replace(self.execution, progress=report)
        found = outcomes(self.model, self.pairs, circuits, metric=self.metric, execution=execution)
        full, empty, *alone = (outcome.metric.numpy() for outcome in found)
        self.full, self.empty = full, empty
        return np.stack(alone) if alone else np.zeros((0, len(full)))

    @property
    def gap(self) -> float:
        """Mean metric of the full model minus that of the empty circuit."""
        return float(self.full.mean() - self.empty.mean())

    @property
    def reason(self) -> str | None:
        """Why shares of the gap mean nothing; None where they do."""
        return why_undefined(torch.from_numpy(self.full - self.empty))


def some_edges(circuit: Circuit) -> Circuit:
    """The circuit, if it has edges.

    Raises:
        InputError: it has none.
    """
    if not circuit.n_edges:
        raise InputError("circuit: expected at least one edge, got the empty circuit; extract a larger one")
    return circuit


def whole_number(name: str, value: int, least: int) -> int:
    """The value, if it is a whole number from `least` on.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}: expected a whole number from {least} on, got {value!r}")
    return int(value)
