"""Conductance: how much of the metric's change flows over each edge as the image goes from corrupted to clean.

    s(u→v) = Σ_k ⟨o_u(z_{k+1}) − o_u(z_k), ∇_v m(z_{k+½})⟩ ,   z_k = z' + (k/S)(z − z')

z is the input stream of block 0, o_u the output of sender u, ∇_v the metric's gradient at the input of receiver v. In
the limit of many steps (error of order 1/S²), flow is conserved: what enters a component leaves it, and every cut
between `input` and `logits` carries m(x) − m(x'). This holds for the scores of all edges; a circuit carries a part.

Conductance-based EAP, arXiv 2606.16920. Its formula could not be verified. This one is reconstructed from the
conservation law that the paper states, and is defined for the midpoint rule only. Costs S + 1 forward passes for the
senders, and S forward and backward passes between them. Sender differences change with every step, so edges are
contracted S times.
"""

from __future__ import annotations

import torch

from ...evaluation.measured import MeasuredPairs
from ...models import ReceiverGradients, SenderOutputs, sender_differences
from ..contraction import Contraction
from ..method import GRADIENT, Task, path_steps
from ..scoring import BatchScores, per_image


def _conductance(task: Task, batch: MeasuredPairs, *, steps: int, gradient: str) -> BatchScores:
    model, form = task.model, task.form
    corrupted, clean = model.embed(batch.corrupted), model.embed(batch.clean)
    gradients = ReceiverGradients(model, form, clean, gradient)
    contraction = Contraction(task.graph, batch.token_weights(clean, model.exact_dtype))
    sent, logits = SenderOutputs.of(model, corrupted)
    start = batch.values(logits)
    for step in range(steps):
        before = sent
        sent, logits = SenderOutputs.of(model, torch.lerp(corrupted, clean, (step + 1) / steps))
        gradients.add(torch.lerp(corrupted, clean, (step + 0.5) / steps), batch.values, 1.0)
        contraction.add(sender_differences(model, form, sent, before), gradients)
    return BatchScores.of(contraction.scores(), batch.values(logits), start)


CONDUCTANCE = per_image(
    _conductance,
    key="conductance",
    name="Conductance along the path from corrupted to clean (conserved flow)",
    source="arXiv 2606.16920, formula reconstructed",
    passes=lambda graph, steps, gradient: (2 * steps + 1, steps),
    params={"steps": path_steps(5), "gradient": GRADIENT},
    conserves="cuts",
    tokens=True,
    needs_images=True,
)
