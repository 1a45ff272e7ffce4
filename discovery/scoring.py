"""Methods that score each image by itself: `per_image` makes one out of a function of one batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..circuits import ComputationGraph, EdgeScores
from ..circuits.recipe import Scalar
from ..errors import CircuitStoreWarning
from .method import Conserved, Found, Method, Task

RESIDUAL_LIMIT = 0.05


@dataclass(frozen=True)
class BatchScores:
    """What a method finds for one batch.

    Attributes:
        scores: per image, in flat edge order.
        clean: the metric on the clean images.
        corrupted: the metric on the corrupted images.
        parts: the scores over each of the task's groups of tokens; None where there are none.
    """

    scores: Float[Tensor, "image edge"]
    clean: Float[Tensor, "image"]
    corrupted: Float[Tensor, "image"]
    parts: Float[Tensor, "group image edge"] | None = None

    @classmethod
    def of(cls, scores: Float[Tensor, "group image edge"], clean: Tensor, corrupted: Tensor) -> BatchScores:
        """Of what a `Contraction` gathered: over all tokens, then over each group."""
        return cls(scores[0], clean, corrupted, scores[1:] if len(scores) > 1 else None)


def per_image(score: Callable[..., BatchScores], **facts: Any) -> Method:
    """The method that scores batch by batch.

    Args:
        score: scores of one batch, given the task, the batch, and the resolved parameters by name.
        facts: the other attributes of the `Method`.
    """

    def function(task: Task, **params: Scalar) -> Found:
        return Found(task.graph, _scores(task, method, score, params))

    method = Method(function=function, **facts)
    return method


def _scores(task: Task, method: Method, score: Callable[..., BatchScores], params: dict[str, Scalar]) -> EdgeScores:
    found, done = [], 0
    for batch in task.pairs.batches(task.batch_size):
        one = score(task, batch, **params)
        parts = None if one.parts is None else one.parts.cpu()
        found.append(BatchScores(one.scores.cpu(), one.clean.double().cpu(), one.corrupted.double().cpu(), parts))
        done += len(batch)
        task.progress(done, len(task.pairs))
    scores = torch.cat([one.scores for one in found])
    total = torch.cat([one.clean - one.corrupted for one in found])
    residual = None
    if method.conserves is not None and params.get("gradient", "plain") == "plain":
        residual = _residual(task.graph, scores, total, method.conserves, method.resolve(params).text)
    of = partial(EdgeScores.from_images, task.graph, additive=method.additive, signed=method.signed)
    names = task.pairs.groups.names if task.pairs.groups else ()
    apart = [torch.cat(parts).numpy() for parts in zip(*(one.parts for one in found), strict=True)] if names else []
    return of(scores.numpy(), residual=residual, parts=dict(zip(names, map(of, apart), strict=True)))


_CONSERVED = {
    "input": "the edges out of input sum",
    "cuts": "the edges across a cut of the graph sum",
    "edges": "all edges sum",
}


def _conserved(graph: ComputationGraph, which: Conserved) -> Bool[np.ndarray, "sum edge"]:
    """The sets of edges whose scores sum to the metric's difference."""
    if which == "edges":
        return np.ones((1, graph.n_edges), bool)
    cut = np.arange(2 * graph.n_layers + 1 if which == "cuts" else 1)[:, None]
    return (graph.sender_depth[graph.edge_sender] <= cut) & (cut < graph.receiver_depth[graph.edge_receiver])


def _residual(
    graph: ComputationGraph,
    scores: Float[Tensor, "image edge"],
    total: Float[Tensor, "image"],
    conserves: Conserved,
    method: str,
) -> float | None:
    """|Σ − (m(x) − m(x'))| / |m(x) − m(x')| over the images' means, at worst; None where the metric does not move."""
    gap = float(total.mean())
    if gap == 0:
        return None
    sums = _conserved(graph, conserves) @ scores.double().mean(dim=0).numpy()
    worst = float(sums[np.abs(sums - gap).argmax()])
    residual = abs(worst - gap) / abs(gap)
    if residual > RESIDUAL_LIMIT:
        warnings.warn(
            f"{method}: {_CONSERVED[conserves]} to {worst:.4g}, but the metric differs by {gap:.4g} between clean "
            f"and corrupted images ({residual:.1%} off, expected under {RESIDUAL_LIMIT:.0%}); more steps bring them "
            "together",
            CircuitStoreWarning,
            stacklevel=6,
        )
    return residual
