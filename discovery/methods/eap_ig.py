"""EAP-IG (inputs): EAP with the gradient averaged over points between the corrupted and the clean image's stream.

    s(u→v) = ⟨o_u(x) − o_u(x'), (1/S) Σ_k ∇_v m(z' + α_k (z − z'))⟩ ,   z the input stream of block 0

In the limit of many steps (midpoint: error of order 1/S²), the edges out of `input` sum to m(x) − m(x').

Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806.
"""

from __future__ import annotations

from ...circuits.kinds import choice
from ...evaluation.measured import MeasuredPairs
from ...evaluation.path_points import RULES, points
from ..flat_gradients import flat_in_one_step
from ..interpolation import along_path
from ..method import GRADIENT, Task, path_steps
from ..scoring import BatchScores, per_image


def _eap_ig(task: Task, batch: MeasuredPairs, *, steps: int, rule: str, gradient: str) -> BatchScores:
    return along_path(task.model, batch, task.form, points(steps, rule), gradient)


EAP_IG = per_image(
    _eap_ig,
    key="eap-ig",
    name="Edge attribution patching with integrated gradients (inputs)",
    source="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806",
    passes=lambda graph, steps, rule, gradient: (steps + (2 if rule == "midpoint" else 1), steps),
    params={"steps": path_steps(5), "rule": choice(*RULES), "gradient": GRADIENT},
    refuses=flat_in_one_step,
    conserves="input",
    tokens=True,
    needs_images=True,
)
