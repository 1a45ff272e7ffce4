"""GradDrop: attribution with one layer at a time left out of the backward pass, so that cancelling paths show.

    s(u→v) = 1/n_v Σ_{ℓ ≠ layer of v} |⟨Δ_u, ∇_v^(ℓ) m⟩|

∇^(ℓ) is the metric's gradient when the attention and the MLP of layer ℓ pass no gradient, so that it bypasses them
along the stream. n_v is the number of layers other than the receiver's own (all L for `logits`): with its own layer
left out, a receiver gets no gradient. A direct and an indirect effect that cancel in EAP do not cancel in all of these
gradients. Receivers in the last layer and `logits` have no later layer to leave out, so their score is |EAP|.

Scores are unsigned and not additive, so score again to change the form. Costs 2 forward passes, L backward passes
through the same graph, and L contractions. A model of one layer raises an error, since no other layer is left to
average over.

Kramár et al. 2024 (AtP*), arXiv 2403.00745, who score nodes; here applied to the gradients at receivers, per edge.
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
        gradients.add_gradients(base.run, base.gradients_without(layer), 1)
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
