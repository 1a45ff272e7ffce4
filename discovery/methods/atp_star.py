"""AtP* for edges: the QK fix, with magnitudes averaged over the layers that GradDrop leaves out.

Edges into queries and keys are scored by recomputing their heads as in `qk-fix`, only in the `split` form. The backward
passes are those of `grad-drop`, one per layer. Scores are neither signed nor additive. Costs 2 forward passes, L
backward passes, and about 0.3 forward passes of a block per sender that it reads.

Kramár et al. 2024, arXiv 2403.00745.
"""

from __future__ import annotations

import torch

from ...circuits.recipe import DIRECTIONS
from ...evaluation.measured import MeasuredPairs
from ...models.receivers import ReceiverGradients
from ..base_run import BaseRun, eap_scores, other_layers
from ..flat_gradients import flat_on_clean
from ..method import Task
from ..qk_recomputed import QK_GRADIENT, into_qk, qk_passes, recomputed
from ..scoring import BatchScores, per_image


def _atp_star(task: Task, batch: MeasuredPairs, *, gradient: str) -> BatchScores:
    layers, counts = task.graph.n_layers, torch.from_numpy(other_layers(task.graph, "atp-star"))
    base = BaseRun.of(task.model, task.form, task.direction, batch, gradient)
    gradients = ReceiverGradients(task.model, task.form, base.stream, gradient)
    heads, total = [], base.differences.new_zeros(len(batch), task.graph.n_edges)
    for dropped in range(layers):
        found = base.gradients_without(dropped, heads=True)
        gradients.add_gradients(base.run, found, 1)
        total += eap_scores(task, batch, base, gradients).abs()
        heads.append(found.heads)
    for layer in range(layers):
        at_qk = recomputed(task, base, layer, [found[layer] for found in heads])
        total[:, into_qk(task.graph, layer)] = at_qk.abs().sum(dim=0)
    return BatchScores(total / counts.to(total), base.clean, base.corrupted)


ATP_STAR = per_image(
    _atp_star,
    key="atp-star",
    name="AtP* for edges: QK fix and GradDrop",
    source="Kramár et al. 2024, arXiv 2403.00745",
    passes=lambda graph, gradient: qk_passes(graph, graph.n_layers),
    forms=("split",),
    directions=DIRECTIONS,
    params={"gradient": QK_GRADIENT},
    additive=False,
    refuses=flat_on_clean,
    signed=False,
)
