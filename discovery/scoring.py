"""Methods that score each image by itself: `per_image` makes one out of a function of one batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import EdgeScores
from ..circuits.recipe import Scalar
from ..errors import CircuitStoreWarning
from .method import Found, Method, Task

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
    parts, done = [], 0
    for batch in task.pairs.batches(task.batch_size):
        found = score(task, batch, **params)
        parts.append(BatchScores(found.scores.cpu(), found.clean.double().cpu(), found.corrupted.double().cpu()))
        done += len(batch)
        task.progress(done, len(task.pairs))
    scores = torch.cat([part.scores for part in parts])
    residual = None
    if method.conserves:
        from_input = scores[:, torch.from_numpy(task.graph.edge_sender == 0)].double().sum(dim=1)
        total = torch.cat([part.clean - part.corrupted for part in parts])
        residual = _residual(from_input, total, method.resolve(params).text)
    return EdgeScores.from_images(
        task.graph, scores.numpy(), additive=method.additive, signed=method.signed, residual=residual
    )


def _residual(from_input: Float[Tensor, "image"], total: Float[Tensor, "image"], method: str) -> float | None:
    """|Σ_out(input) − (m(x) − m(x'))| / |m(x) − m(x')| over the images' means; None where the metric does not move."""
    gap = float(total.mean())
    if gap == 0:
        return None
    residual = abs(float(from_input.mean()) - gap) / abs(gap)
    if residual > RESIDUAL_LIMIT:
        warnings.warn(
            f"{method}: the edges out of input sum to {float(from_input.mean()):.4g}, but the metric differs by "
            f"{gap:.4g} between clean and corrupted images ({residual:.1%} off, expected under {RESIDUAL_LIMIT:.0%}); "
            "more steps bring them together",
            CircuitStoreWarning,
            stacklevel=6,
        )
    return residual
