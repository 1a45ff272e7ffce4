"""GradDrop: attribution with one layer after the other left out of the way back, so that cancelling paths show.

    s(u→v) = 1/n_v Σ_{ℓ ≠ layer of v} |⟨Δ_u, ∇_v^(ℓ) m⟩|

∇^(ℓ) is the metric's gradient when the attention and the MLP of layer ℓ pass none, so that it goes around them along
the stream; n_v counts the layers other than the receiver's own, in which nothing would arrive (all L for `logits`).
Where a direct and an indirect effect cancel in EAP, they do not cancel in all of these. Receivers in the last layer and
`logits` have nothing behind them that could be left out: there the score is |EAP|.

Magnitudes without sign, not additive: project by scoring again. 2 forwards and L backwards through the same graph, and
L contractions. Of a model of one layer nothing is left to average over; it is refused.

Kramár et al. 2024 (AtP*), arXiv 2403.00745, who score nodes; applied here to the gradients at receivers, one edge each.
"""

from __future__ import annotations

from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits.recipe import DIRECTIONS
from ...evaluation.measured import MeasuredPairs
from ...models.receivers import ReceiverGradients
from ..base_run import BaseRun, eap_scores, other_layers
from ..flat_gradients import flat_on_clean
from ..method import GRADIENT, Task
from ..scoring import BatchScores, per_image


def _grad_drop(task: Task, batch: MeasuredPairs, *, gradient: str) -> BatchScores:
    counts = torch.from_numpy(other_layers(task.graph, "grad-drop"))
    base = BaseRun.of(task.model, task.form, task.direction, batch, gradient)
    gradients = ReceiverGradients(task.model, task.form, base.stream, gradient)

    def without(layer: int) -> Float[Tensor, "image edge"]:
        gradients.take(base.run, base.gradients_without(layer), 1)
        return eap_scores(task, batch, base, gradients).abs_()

    total = reduce(torch.Tensor.add_, map(without, range(task.graph.n_layers)))
    return BatchScores(total / counts.to(total), base.clean, base.corrupted)


GRAD_DROP = per_image(
    _grad_drop,
    key="grad-drop",
    name="Attribution patching of edges with GradDrop",
    source="Kramár et al. 2024, arXiv 2403.00745",
    passes=lambda graph, gradient: (2, graph.n_layers),
    directions=DIRECTIONS,
    params={"gradient": GRADIENT},
    signed=False,
    additive=False,
    refuses=flat_on_clean,
)
