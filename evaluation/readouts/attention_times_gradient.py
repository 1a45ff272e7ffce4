"""Attention times gradient: `A ⊙ ∂m/∂A` of every head, signed.

The model runs with fused attention. A head's output is `A v`, so the gradient at its attention follows from the
gradient at its output: `∂m/∂A[q, t] = ⟨∂m/∂out_q, v_t⟩`. This is the linear estimate of what the reading of a token
adds to the metric, downstream included. It is positive if it raises the metric.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Metric, Readout
from ...models import ViT, head_pattern, runs_model
from ...models.receivers import TappedRun
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..pairs import ImagePairs
from .batched import head_axis, image_axis, layer_axis, read_pairs
from .kind import ReadoutKind, of_measured
from .queries import EACH_QUERY, Queries, n_row_numbers, row_axes


@runs_model
def attention_times_gradient(
    model: ViT,
    pairs: ImagePairs,
    *,
    metric: str | Metric = "logit",
    queries: Queries = None,
    execution: Execution = DEFAULT,
) -> Readout:
    """Multiply the attention of every head by the metric's gradient at it.

    Args:
        pairs: images with their classes; only the clean images are read.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        queries: None sums over queries. "each" returns the row of each token.
        execution: batch size and progress; progress counts images.

    Returns:
        `[image, layer, head, token]` or `[image, layer, head, query, token]`, in units of the metric.

    Raises:
        InputError: pairs or a metric that do not fit.

    Examples:
        >>> attention_times_gradient(model, pairs)
        Readout(attention-times-gradient: metric [8 image, 4 layer, 4 head, 65 token])
    """
    use = ATTENTION_TIMES_GRADIENT.use(queries=queries)
    measured = measure(model, pairs, metric)

    def read(batch: MeasuredPairs) -> Float[Tensor, "image layer head *query token"]:
        found = times_gradient(model, batch)
        return found if queries == "each" else found.sum(dim=3)

    values = read_pairs(model, measured, read, execution)
    axes = (image_axis(len(measured)), layer_axis(model), head_axis(model), *row_axes(model, queries))
    return Readout(use, axes, values, unit="metric", metric=measured.metric)


def times_gradient(model: ViT, batch: MeasuredPairs) -> Float[Tensor, "image layer head query token"]:
    """Return `A ⊙ ∂m/∂A` of a batch."""
    run = TappedRun(model, "head", model.embed(batch.clean), batch.values)
    gradients = run.gradients(heads=True).heads

    def of_layer(layer: int) -> Float[Tensor, "image head query token"]:
        ports = run.taps.ports[layer].detach()
        attention = head_pattern(model, layer, ports)
        shape = (model.n_heads, model.d_head)
        value = ports.unflatten(-1, (3, *shape))[:, :, 2].to(attention)
        gradient = gradients[layer].unflatten(-1, shape).to(attention)
        return attention * torch.einsum("bqhk,bthk->bhqt", gradient, value)

    return torch.stack([of_layer(layer) for layer in range(model.n_layers)], dim=1)


ATTENTION_TIMES_GRADIENT = ReadoutKind(
    key="attention-times-gradient",
    name="Attention of every head times the metric's gradient at it, signed",
    source="Chefer et al. 2021, arXiv 2103.15679",
    function=of_measured(attention_times_gradient),
    passes=lambda model, **params: (1, 1),
    numbers=lambda model, queries=None: model.n_layers * model.n_heads * n_row_numbers(model, queries),
    params={"queries": EACH_QUERY},
    reads_metric=True,
)
