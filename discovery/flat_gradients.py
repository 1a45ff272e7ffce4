"""Questions that a method cannot answer, for reasons that several methods share."""

from __future__ import annotations

from collections.abc import Mapping

from ..circuits.recipe import Metric, Scalar
from ..errors import InputError


def flat_on_clean(metric: str, direction: str, params: Mapping[str, Scalar]) -> str | None:
    """Why a gradient on the clean run alone means nothing for a metric; None where it does."""
    if metric == "kl" and direction == "noising":
        return (
            "the divergence from the clean run is smallest on the clean run, so its gradient is zero there and so is "
            "every score; take the gradient elsewhere (eap-ig, or direction 'denoising'), or another metric"
        )
    return None


def flat_in_one_step(metric: str, direction: str, params: Mapping[str, Scalar]) -> str | None:
    """The same for an average over a path to the clean run: its right rule with one step is the clean run alone."""
    if params["steps"] == 1 and params.get("rule", "right") == "right":
        return flat_on_clean(metric, direction, params)
    return None


def unmoved(metric: Metric) -> InputError:
    """The error of methods that choose edges by what the metric loses, where corruption takes nothing from it."""
    return InputError(
        f"the metric {metric.kind!r} is the same on clean and corrupted images, so no edge matters and any ranking of "
        "them would be of nothing; give another corruption"
    )
