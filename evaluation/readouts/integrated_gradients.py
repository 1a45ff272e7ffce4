"""Integrated gradients: gradients along the straight path from a baseline to the image, times the pixels' change.

    (x − b) · (1/S) Σ_k ∂m/∂x at b + α_k (x − b)

In the limit of many steps (midpoint: error of order 1/S²) the pixels sum to m(x) − m(b). How far the sums are off is
stored as `residual`: the mean over images of the absolute error, as a share of the mean absolute change.

Sundararajan, Taly & Yan 2017, arXiv 1703.01365.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Readout
from ...circuits.kinds import choice, whole
from ...errors import warn
from ...models import ViT
from ..execution import Execution
from ..measured import MeasuredPairs
from ..path_points import RULES, points
from .baseline_images import BASELINE, against
from .kind import ReadoutKind
from .patch_maps import BY, n_map_numbers, pixel_map
from .pixel_gradients import ends, pixel_gradient

RESIDUAL_LIMIT = 0.01
"""Residual above which a warning is issued."""


def _integrated_gradients(
    model: ViT, pairs: MeasuredPairs, *, execution: Execution, baseline: str, steps: int, rule: str, by: str
) -> Readout:
    changes = []

    def attributions(batch: MeasuredPairs) -> Float[Tensor, "image channel height width"]:
        clean, start = ends(model, batch)
        changes.append((batch.values(model.logits(clean)) - batch.values(model.logits(start))).double().cpu())
        total = torch.zeros_like(clean, dtype=model.exact_dtype)
        for point in points(steps, rule):
            total += pixel_gradient(model, batch, torch.lerp(start, clean, point))
        return (clean - start) * total / steps

    use = INTEGRATED_GRADIENTS.use(baseline=baseline, steps=steps, rule=rule, by=by)
    found = pixel_map(model, against(model, pairs, baseline), attributions, use, execution)
    facts = _residual(found, torch.cat(changes))
    _report(found, facts)
    return replace(found, facts=facts)


def _residual(found: Readout, changes: Float[Tensor, "image"]) -> dict[str, float]:
    """Return the residual in units of the metric, and as a share of the change, unless that is 0."""
    off = float((torch.from_numpy(found.values).double().sum(dim=(1, 2)) - changes).abs().mean())
    change = float(changes.abs().mean())
    return {"residual_absolute": off, **({"residual": off / change} if change else {})}


def _report(found: Readout, facts: Mapping[str, float]) -> None:
    share = facts.get("residual", 0.0)
    if share > RESIDUAL_LIMIT:
        warn(
            f"{found.use.text}: the attributions of an image differ from the change of its metric by "
            f"{facts['residual_absolute']:.4g} on average, {share:.1%} of the change (expected at most "
            f"{RESIDUAL_LIMIT:.0%}); use more steps"
        )


INTEGRATED_GRADIENTS = ReadoutKind(
    key="integrated-gradients",
    name="Gradients of the metric along the path from a baseline to the image, times the change of the pixels",
    source="Sundararajan, Taly & Yan 2017, arXiv 1703.01365",
    function=_integrated_gradients,
    passes=lambda model, baseline, steps, rule, by: (steps + 2, steps),
    numbers=n_map_numbers,
    params={"baseline": BASELINE, "steps": whole(50), "rule": choice(*RULES), "by": BY},
    reads_metric=True,
)
