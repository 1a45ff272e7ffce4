"""Scores of every edge, batch by batch, and what a scoring costs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..circuits import EdgeScores, Form, MethodUse
from ..circuits.recipe import Scalar
from ..errors import CircuitStoreWarning
from ..models import ViT
from .batches import Indices, Pairs
from .batches import batch_size as choose_batch_size
from .method import BatchScores
from .metrics import get_metric
from .registry import get_method, resolve_method

RESIDUAL_LIMIT = 0.05


def score_edges(
    model: ViT,
    clean: Tensor,
    corrupted: Tensor,
    labels: Indices,
    *,
    targets: Indices | None = None,
    method: str = "eap-ig",
    form: Form = "split",
    metric: str = "logit",
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
    **params: Scalar,
) -> EdgeScores:
    """Score every edge of the model's graph for the contrast between clean and corrupted images.

    Args:
        clean: normalised images `[image, channel, height, width]`.
        corrupted: what each is contrasted with.
        labels: true class per image.
        targets: target class per image, for `logit-diff`.
        method: `eap` or `eap-ig`; its parameters (`steps`, `rule`) follow by name.
        form: `split`, `head`, `attention` or `block`.
        metric: `logit` or `logit-diff`; summed over the batch, so scores do not depend on its size.
        batch_size: images at a time; by default what fits a fixed budget.
        progress: called with the number of images just finished.

    Returns:
        Scores per image and their mean, in units of the metric, positive where an edge raises it; float32
        (float64 for a float64 model). `residual`: relative error of the sum over edges out of `input`
        against the metric's difference, for methods that conserve it; above 5 % a `CircuitStoreWarning`.

    Raises:
        InputError: unknown names, parameters out of range, images or classes that do not fit.
    """
    use, scorer = resolve_method(method, params), get_method(method)
    graph = model.graph(form)
    pairs = Pairs.checked(model, clean, corrupted, labels, targets, get_metric(metric))
    parts = []
    for batch in pairs.batches(choose_batch_size(model, form, batch_size)):
        found = scorer.score(model, batch, form, use)
        parts.append(BatchScores(found.scores.cpu(), found.clean.double().cpu(), found.corrupted.double().cpu()))
        if progress is not None:
            progress(len(batch))
    scores = torch.cat([part.scores for part in parts])
    residual = None
    if scorer.conserves:
        from_input = scores[:, torch.from_numpy(graph.edge_sender == 0)].double().sum(dim=1)
        residual = _residual(from_input, torch.cat([p.clean - p.corrupted for p in parts]), use)
    return EdgeScores.from_images(
        graph, scores.numpy(), additive=scorer.additive, signed=scorer.signed, residual=residual
    )


def _residual(from_input: Tensor, total: Tensor, use: MethodUse) -> float | None:
    """|Σ_out(input) − (m(x) − m(x'))| / |m(x) − m(x')| over the images' means; None where the metric does not move."""
    gap = float(total.mean())
    if gap == 0:
        return None
    residual = abs(float(from_input.mean()) - gap) / abs(gap)
    if residual > RESIDUAL_LIMIT:
        warnings.warn(
            f"{use.text}: the edges out of input sum to {float(from_input.mean()):.4g}, but the metric differs by "
            f"{gap:.4g} between clean and corrupted images ({residual:.1%} off, expected under {RESIDUAL_LIMIT:.0%}); "
            "more steps bring them together",
            CircuitStoreWarning,
            stacklevel=3,
        )
    return residual


@dataclass(frozen=True)
class Cost:
    """Passes of images through the model.

    Attributes:
        forwards: images run forward.
        backwards: images run back.
    """

    forwards: int
    backwards: int


def estimate_cost(model: ViT, method_use: MethodUse, n_images: int) -> Cost:
    """What scoring `n_images` pairs takes."""
    forwards, backwards = get_method(method_use.kind).passes(**dict(method_use.params))
    return Cost(forwards * n_images, backwards * n_images)
