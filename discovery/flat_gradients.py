"""Questions that several methods cannot answer: flat gradients and a constant metric."""

from __future__ import annotations

from collections.abc import Mapping

from ..circuits.recipe import Metric, Scalar
from ..errors import InputError


def flat_on_clean(metric: str, direction: str, params: Mapping[str, Scalar]) -> str | None:
    """Return why the gradient on the clean run is zero for a metric; None if it need not be."""
    if metric == "kl" and direction == "noising":
        return (
            "the divergence from the clean run is smallest on the clean run, so its gradient is zero there and every "
            "score would be zero; take the gradient elsewhere (eap-ig, or direction 'denoising'), or use another metric"
        )
    return None


def flat_in_one_step(metric: str, direction: str, params: Mapping[str, Scalar]) -> str | None:
    """Return the same for an average along a path, whose right rule with one step uses the clean run only."""
    if params["steps"] == 1 and params.get("rule", "right") == "right":
        return flat_on_clean(metric, direction, params)
    return None


def constant_metric_error(metric: Metric) -> InputError:
    """Return the error for images on which corruption does not change the metric, so that no edge can be ranked."""
    return InputError(
        f"the metric {metric.kind!r} is the same on clean and corrupted images, so no edge matters and edges cannot be "
        "ranked; use another corruption"
    )
