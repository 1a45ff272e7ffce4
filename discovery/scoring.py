"""Methods that score each image separately; `per_image` makes a method from a function of one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import EdgeScores, MethodUse
from ..circuits.recipe import Scalar
from ..errors import warn
from .conserved import RESIDUAL_LIMIT, Residual
from .method import Method, MethodOutput, Task
from .steps import AutoSteps


@dataclass(frozen=True)
class BatchScores:
    """The scores of one batch.

    Attributes:
        scores: per image, in flat edge order.
        clean: the metric on the clean images.
        corrupted: the metric on the corrupted images.
        parts: the scores over each token group of the task; None if there are none.
        patches: effect of exact patching of each node, for methods that conserve `nodes`.
    """

    scores: Float[Tensor, "image edge"]
    clean: Float[Tensor, "image"]
    corrupted: Float[Tensor, "image"]
    parts: Float[Tensor, "group image edge"] | None = None
    patches: Float[Tensor, "image node"] | None = None

    @classmethod
    def of(
        cls, scores: Float[Tensor, "group image edge"], clean: Tensor, corrupted: Tensor, patches: Tensor | None = None
    ) -> BatchScores:
        """Create from the scores of a `Contraction`: over all tokens, then over each group."""
        return cls(scores[0], clean, corrupted, scores[1:] if len(scores) > 1 else None, patches)

    @classmethod
    def joined(cls, batches: Sequence[BatchScores]) -> BatchScores:
        """Join all batches on the CPU; metrics and patches in double precision."""

        def join(name: str, dim: int = 0) -> Any:
            parts = [getattr(batch, name) for batch in batches]
            return None if parts[0] is None else torch.cat([part.cpu() for part in parts], dim=dim)

        clean, corrupted, patches = (join(name) for name in ("clean", "corrupted", "patches"))
        patches = None if patches is None else patches.double()
        return cls(join("scores"), clean.double(), corrupted.double(), join("parts", dim=1), patches)


def per_image(score: Callable[..., BatchScores], **facts: Any) -> Method:
    """Return the method that scores batch by batch.

    Args:
        score: returns the scores of one batch, given the task, the batch, and the resolved parameters by name.
        facts: the other attributes of the `Method`.
    """

    def function(task: Task, **params: Scalar) -> MethodOutput:
        auto = AutoSteps.parse(params.get("steps"))
        if auto is None:
            scored, residual = _scored(task, method, score, params)
            trace = {}
        else:
            scored, residual, trace = _doubled(task, method, score, params, auto)
        if residual is not None:
            _report(residual, method, params)
        return MethodOutput(task.graph, _edge_scores(task, method, scored, residual), trace=trace)

    method = Method(function=function, **facts)
    return method


def _scored(
    task: Task, method: Method, score: Callable[..., BatchScores], params: Mapping[str, Scalar]
) -> tuple[BatchScores, Residual | None]:
    """Return the scores of all images, and the residual if the method has a conservation law."""
    batches, done = [], 0
    for batch in task.pairs.batches(task.batch_size):
        batches.append(score(task, batch, **params))
        done += len(batch)
        task.progress(done, len(task.pairs))
    found = BatchScores.joined(batches)
    if method.conserves is None or params.get("gradient", "plain") != "plain":
        return found, None
    mean = found.scores.double().mean(dim=0).numpy()
    patches = None if found.patches is None else found.patches.mean(dim=0).numpy()
    differences = (found.clean - found.corrupted).numpy()
    return found, Residual.of(task.graph, method.conserves, mean, differences, patches)


def _doubled(
    task: Task, method: Method, score: Callable[..., BatchScores], params: Mapping[str, Scalar], auto: AutoSteps
) -> tuple[BatchScores, Residual, dict[str, Any]]:
    """Return the scores with enough steps, and a trace with the steps and the residual of each number tried."""

    def attempt(steps: int) -> tuple[BatchScores, Residual]:
        found, residual = _scored(task, method, score, {**params, "steps": steps})
        assert residual is not None, "only methods with a conservation law take automatic steps"
        return found, residual

    found, tried = auto.first_within(attempt)
    residuals = [{"steps": n, "residual": r.relative, "residual_absolute": r.absolute} for n, r in tried]
    return found, tried[-1][1], {"steps": tried[-1][0], "tried": residuals}


def _edge_scores(task: Task, method: Method, scored: BatchScores, residual: Residual | None) -> EdgeScores:
    of = partial(EdgeScores.from_images, task.graph, additive=method.additive, signed=method.signed)
    names = task.pairs.token_groups.names if task.pairs.token_groups else ()
    parts = {} if scored.parts is None else {n: of(part.numpy()) for n, part in zip(names, scored.parts, strict=True)}
    off = {} if residual is None else {"residual": residual.relative, "residual_absolute": residual.absolute}
    return of(scored.scores.numpy(), parts=parts, **off)


_CONSERVED = {
    "input": "the edges out of input sum",
    "cuts": "the edges across a cut of the graph sum",
    "edges": "all edges sum",
    "nodes": "the edges out of a node sum",
}


def _report(residual: Residual, method: Method, params: Mapping[str, Scalar]) -> None:
    """Warn of a residual above the limit; not if the gap is insignificant, so that shares of it are undefined."""
    if residual.relative is None or residual.relative <= RESIDUAL_LIMIT:
        return
    assert method.conserves is not None
    expected = "exact patching gives" if method.conserves == "nodes" else "the metric's difference is"
    hint = "raise the limit of steps" if AutoSteps.parse(params["steps"]) else 'use more steps, or steps = "auto"'
    use = MethodUse.of(method.key, params, method.version)
    warn(
        f"{use.text}: {_CONSERVED[method.conserves]} to {residual.actual:.4g}, but {expected} "
        f"{residual.expected:.4g}: off by {residual.absolute:.4g}, {residual.relative:.1%} of the difference between "
        f"clean and corrupted images (expected at most {RESIDUAL_LIMIT:.0%}); {hint}",
    )
