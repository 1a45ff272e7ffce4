"""EAP: sender differences times the metric's gradient at receivers, on the clean run (denoising: on the corrupted run).

Every gradient method has a gradient mode (`models.gradients`): `plain`, `relp` (RelP is EAP in this mode), `relp-ah`
(edges into q and k score zero) or `gim`. A mode changes only the backward pass; conservation laws hold only for the
plain gradient.

Syed, Rager & Conmy 2023, arXiv 2310.10348.
"""

from __future__ import annotations

from ...circuits.recipe import DIRECTIONS
from ...evaluation.measured import MeasuredPairs
from ..flat_gradients import flat_on_clean
from ..interpolation import along_path
from ..method import GRADIENT, Task
from ..scoring import BatchScores, per_image


def _eap(task: Task, batch: MeasuredPairs, *, gradient: str) -> BatchScores:
    return along_path(task.model, batch, task.form, [1.0 if task.direction == "noising" else 0.0], gradient)


EAP = per_image(
    _eap,
    key="eap",
    name="Edge attribution patching",
    source="Syed, Rager & Conmy 2023, arXiv 2310.10348",
    passes=lambda graph, gradient: (2, 1),
    directions=DIRECTIONS,
    params={"gradient": GRADIENT},
    refuses=flat_on_clean,
    tokens=True,
)
