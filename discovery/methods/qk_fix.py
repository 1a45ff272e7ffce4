"""The QK fix of AtP*: edges into queries and keys by recomputing the softmax that gradients cut short.

Formula and cost of these edges are in `qk_recomputed`; all others score as in EAP. Signed and, being no linear function
of Δ_u at q and k, not additive; in the form `split` alone, where queries and keys are receivers. Beside 2 forwards and
1 backward about 0.3 forwards of a block for every sender that it reads, by count on ViT-S (on a CPU 0.45: the softmax).

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
    gradients.take(base.run, found, 1)
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
