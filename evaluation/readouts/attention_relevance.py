"""Relevance: attention times its gradient, positive parts only, rolled out over the layers.

    R = I ;   for each layer, first layer first:   R ← R + mean_h (A_h ⊙ ∂m/∂A_h)⁺ R

Unlike rollout it depends on the metric, hence on the class. Chefer et al. 2021 (ICCV), arXiv 2103.15679. A metric that
does not depend on the image gives I.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Metric, Readout
from ...models import ViT, runs_model
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..pairs import ImagePairs
from .attention_times_gradient import times_gradient
from .batched import image_axis, read_pairs
from .kind import ReadoutKind, of_measured
from .queries import EACH_QUERY, Queries, n_row_numbers, requested_rows, row_axes


@runs_model
def attention_relevance(
    model: ViT,
    pairs: ImagePairs,
    *,
    metric: str | Metric = "logit",
    queries: Queries = None,
    execution: Execution = DEFAULT,
) -> Readout:
    """Roll out attention times its gradient, which shows the tokens that raise a metric.

    Args:
        pairs: images with their classes; only the clean images are read.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        queries: None returns the row of what the classifier pools: of the class token, or the mean over the rows of
            the patches. "each" returns the row of each token.
        execution: batch size and progress; progress counts images.

    Returns:
        Relevance `[image, token]` or `[image, query, token]`.

    Raises:
        InputError: pairs or a metric that do not fit, or no `queries` with map pooling.

    Examples:
        >>> attention_relevance(model, pairs)
        Readout(attention-relevance: relevance [8 image, 65 token])
    """
    use = ATTENTION_RELEVANCE.use(queries=queries)
    measured = measure(model, pairs, metric)
    rows = requested_rows(model, queries)

    def read(batch: MeasuredPairs) -> Float[Tensor, "image *query token"]:
        steps = times_gradient(model, batch).clamp_min(0).mean(dim=2)
        relevance = torch.eye(model.n_tokens, dtype=steps.dtype, device=steps.device).expand_as(steps[:, 0])
        for step in steps.unbind(dim=1):
            relevance = relevance + step @ relevance
        return rows(relevance)

    values = read_pairs(model, measured, read, execution)
    axes = (image_axis(len(measured)), *row_axes(model, queries))
    return Readout(use, axes, values, unit="relevance", metric=measured.metric)


ATTENTION_RELEVANCE = ReadoutKind(
    key="attention-relevance",
    name="Positive attention times gradient, rolled out over the layers",
    source="Chefer et al. 2021, arXiv 2103.15679",
    function=of_measured(attention_relevance),
    passes=lambda model, **params: (1, 1),
    numbers=lambda model, queries=None: n_row_numbers(model, queries),
    params={"queries": EACH_QUERY},
    reads_metric=True,
)
