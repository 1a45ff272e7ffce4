"""The metric of many circuits of one graph, image by image, on one set of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..circuits import Circuit, ComputationGraph
from ..discovery import Images, outcomes
from ..discovery.evaluate import why_undefined
from ..errors import InputError
from ..models import ViT

Members = Sequence[Bool[np.ndarray, "edge"]]


class MetricRuns:
    """Runs edge sets of a graph alone, and tells how many of `total` are done.

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
        images: Images,
        metric: str,
        batch_size: int | None,
        progress: Callable[[int, int], None] | None,
        total: int,
    ) -> None:
        self.model, self.graph, self.images = model, graph, images
        self.metric, self.batch_size = metric, batch_size
        self.progress, self.total, self.done = progress or (lambda done, total: None), total, 0

    def __call__(self, members: Members) -> Float[np.ndarray, "circuit image"]:
        """The metric of each edge set alone.

        Raises:
            InputError: as `evaluate`.
        """
        circuits, before = [Circuit(self.graph, m) for m in members], self.done

        def tell(done: int, total: int) -> None:
            self.done = before + max(0, done - (total - len(members)))
            self.progress(self.done, self.total)

        found = outcomes(
            self.model, circuits, *self.images[:3], targets=self.images.targets, metric=self.metric,
            batch_size=self.batch_size, progress=tell,
        )  # fmt: skip
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
