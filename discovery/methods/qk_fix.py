"""The QK fix of AtP*: edges into queries and keys scored by recomputing the softmax, which distorts their gradient.

Formula and cost of these edges are in `qk_recomputed`; all other edges score as in EAP. Scores are signed, but not
additive, since they are not linear in Δ_u at q and k. Only in the `split` form, where queries and keys are receivers.
Costs 2 forward passes, 1 backward pass, and about 0.3 forward passes of a block per sender that it reads, by operation
count on ViT-S (0.45 on a CPU, because of the softmax).

Kramár et al. 2024, arXiv 2403.00745.
"""

from __future__ import annotations

from ...circuits.recipe import DIRECTIONS
from ...evaluation.measured import MeasuredPairs
from ...models.receivers import ReceiverGradients
from ..base_run import BaseRun, eap_scores
from ..flat_gradients import flat_on_clean
from ..method import Task
from ..qk_recomputed import QK_GRADIENT, into_qk, qk_passes, recomputed
from ..scoring import BatchScores, per_image


def _qk_fix(task: Task, batch: MeasuredPairs, *, gradient: str) -> BatchScores:
    base = BaseRun.of(task.model, task.form, task.direction, batch, gradient)
    found = base.run.gradients(heads=True)
    gradients = ReceiverGradients(task.model, task.form, base.stream, gradient)
    gradients.add_gradients(base.run, found, 1)
    scores = eap_scores(task, batch, base, gradients)
    for layer in range(task.graph.n_layers):
        scores[:, into_qk(task.graph, layer)] = recomputed(task, base, layer, [found.heads[layer]])[0]
    return BatchScores(scores, base.clean, base.corrupted)


QK_FIX = per_image(
    _qk_fix,
    key="qk-fix",
    name="Edge attribution patching with the QK fix of AtP*",
    source="Kramár et al. 2024, arXiv 2403.00745",
    passes=lambda graph, gradient: qk_passes(graph, 1),
    forms=("split",),
    directions=DIRECTIONS,
    params={"gradient": QK_GRADIENT},
    additive=False,
    refuses=flat_on_clean,
)
