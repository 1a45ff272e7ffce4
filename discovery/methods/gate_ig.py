"""Gate-IG: integrated gradients of gates on all edges, opened together.

    s(u→v) = (1/S) Σ_k ∂m/∂gate_e(α_k) = (1/S) Σ_k ⟨o_u(α_k) − o_u(x'), ∇_v m(α_k)⟩

At α, every receiver reads α · (the senders' outputs in the same run) + (1 − α) · (their outputs in the corrupted run),
so the forward pass changes with α; `input` sends the clean stream. In the limit of many steps (midpoint: error of order
1/S²), the scores of all edges sum to m(M) − m(∅).

These are the scores that GIT (Cho, CVPR 2026) thresholds, according to third parties; its rule and number of steps
could not be verified. Costs S gated forward and backward passes in addition to the clean and the corrupted run. Sender
differences change with every step, so edges are contracted S times.
"""

from __future__ import annotations

from ...circuits.kinds import choice
from ...evaluation.measured import MeasuredPairs
from ...evaluation.path_points import RULES, points
from ...evaluation.reference import reference
from ...models import ReceiverGradients, SenderOutputs, mixed_reads, sender_differences
from ..contraction import Contraction
from ..flat_gradients import flat_in_one_step
from ..method import GRADIENT, Task, path_steps
from ..scoring import BatchScores, per_image


def _gate_ig(task: Task, batch: MeasuredPairs, *, steps: int, rule: str, gradient: str) -> BatchScores:
    model, form = task.model, task.form
    corrupted, stream = reference(model, batch), model.embed(batch.clean)
    gradients = ReceiverGradients(model, form, stream, gradient)
    contraction = Contraction(task.graph, batch.token_weights(stream, model.exact_dtype))
    for point in points(steps, rule):
        sent = SenderOutputs(stream)
        with mixed_reads(model, corrupted, point), sent.recording(model):
            gradients.add(stream, batch.values, 1 / steps)
        contraction.add(sender_differences(model, form, sent, corrupted), gradients)
    clean = batch.values(model.logits(batch.clean))
    return BatchScores.of(contraction.scores(), clean, batch.values(corrupted.logits))


GATE_IG = per_image(
    _gate_ig,
    key="gate-ig",
    name="Integrated gradients in the gates of all edges",
    source="Cho, CVPR 2026 (GIT), read through third parties",
    passes=lambda graph, steps, rule, gradient: (steps + 2, steps),
    params={"steps": path_steps(5), "rule": choice(*RULES), "gradient": GRADIENT},
    refuses=flat_in_one_step,
    conserves="edges",
    tokens=True,
)
