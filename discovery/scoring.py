"""Methods that score each image by itself: `per_image` makes one out of a function of one batch."""

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
from .method import Found, Method, Task
from .steps import AutoSteps


@dataclass(frozen=True)
class BatchScores:
    """What a method finds for one batch.

    Attributes:
        scores: per image, in flat edge order.
        clean: the metric on the clean images.
        corrupted: the metric on the corrupted images.
        parts: the scores over each of the task's groups of tokens; None where there are none.
        patches: the exact patch of each node, for methods that conserve `nodes`.
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
        """Of what a `Contraction` gathered: over all tokens, then over each group."""
        return cls(scores[0], clean, corrupted, scores[1:] if len(scores) > 1 else None, patches)

    @classmethod
    def joined(cls, batches: Sequence[BatchScores]) -> BatchScores:
        """Of all batches, on the CPU; metrics and patches in double precision."""

        def join(name: str, dim: int = 0) -> Any:
            parts = [getattr(batch, name) for batch in batches]
            return None if parts[0] is None else torch.cat([part.cpu() for part in parts], dim=dim)

        clean, corrupted, patches = (join(name) for name in ("clean", "corrupted", "patches"))
        patches = None if patches is None else patches.double()
        return cls(join("scores"), clean.double(), corrupted.double(), join("parts", dim=1), patches)


def per_image(score: Callable[..., BatchScores], **facts: Any) -> Method:
    """The method that scores batch by batch.

    Args:
        score: scores of one batch, given the task, the batch, and the resolved parameters by name.
        facts: the other attributes of the `Method`.
    """

    def function(task: Task, **params: Scalar) -> Found:
        auto = AutoSteps.parse(params.get("steps"))
        if auto is None:
            found, residual = _scored(task, method, score, params)
            trace = {}
        else:
            found, residual, trace = _doubled(task, method, score, params, auto)
        if residual is not None:
            _report(residual, method, params)
        return Found(task.graph, _edge_scores(task, method, found, residual), trace=trace)

    method = Method(function=function, **facts)
    return method


def _scored(
    task: Task, method: Method, score: Callable[..., BatchScores], params: Mapping[str, Scalar]
) -> tuple[BatchScores, Residual | None]:
    """The scores of all images, and how far off their sums are, where the method conserves something."""
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
    """The scores with as many steps as it takes; the trace has the steps, and the residual of each number tried."""

    def attempt(steps: int) -> tuple[BatchScores, Residual]:
        found, residual = _scored(task, method, score, {**params, "steps": steps})
        assert residual is not None, "refused where nothing is conserved"
        return found, residual

    found, tried = auto.first_within(attempt)
    told = [{"steps": n, "residual": off.relative, "residual_absolute": off.absolute} for n, off in tried]
    return found, tried[-1][1], {"steps": tried[-1][0], "tried": told}


def _edge_scores(task: Task, method: Method, found: BatchScores, residual: Residual | None) -> EdgeScores:
    of = partial(EdgeScores.from_images, task.graph, additive=method.additive, signed=method.signed)
    names = task.pairs.token_groups.names if task.pairs.token_groups else ()
    parts = {} if found.parts is None else {n: of(part.numpy()) for n, part in zip(names, found.parts, strict=True)}
    off = {} if residual is None else {"residual": residual.relative, "residual_absolute": residual.absolute}
    return of(found.scores.numpy(), parts=parts, **off)


_CONSERVED = {
    "input": "the edges out of input sum",
    "cuts": "the edges across a cut of the graph sum",
    "edges": "all edges sum",
    "nodes": "the edges out of a node sum",
}


def _report(residual: Residual, method: Method, params: Mapping[str, Scalar]) -> None:
    """Warn of a residual above the limit; not where the gap is not told from zero, and its shares mean nothing."""
    if residual.relative is None or residual.relative <= RESIDUAL_LIMIT:
        return
    assert method.conserves is not None
    wanted = "their exact patch is" if method.conserves == "nodes" else "the metric's difference is"
    way_out = "raise the limit of steps" if AutoSteps.parse(params["steps"]) else 'take more steps, or steps = "auto"'
    use = MethodUse.of(method.key, params, method.version)
    warn(
        f"{use.text}: {_CONSERVED[method.conserves]} to {residual.found:.4g}, but {wanted} "
        f"{residual.expected:.4g}: off by {residual.absolute:.4g}, {residual.relative:.1%} of what clean and corrupted "
        f"images differ by (expected under {RESIDUAL_LIMIT:.0%}); {way_out}",
    )
