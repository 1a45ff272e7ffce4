"""What is scored: one number per image from its logits, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import Metric
from ..circuits.recipe import Scalar
from ..errors import InputError, unknown

Classes = Int[Tensor, "image"]


@dataclass(frozen=True)
class MetricKind:
    """A metric by name.

    Attributes:
        key: what specs and calls name.
        about: one sentence for people.
        values: per image, from logits, true classes and targets.
        needs_targets: asks for a target class per image besides the true one.
    """

    key: str
    about: str
    values: Callable[[Float[Tensor, "image class"], Classes, Classes | None], Float[Tensor, "image"]]
    needs_targets: bool = False
    version: int = 1

    def raised(self, labels: Classes, targets: Classes | None) -> Classes:
        """The class that the metric raises, per image: accuracy is the share of images whose top class it is."""
        return targets if self.needs_targets and targets is not None else labels


def _logit(logits: Tensor, labels: Tensor, _: Tensor | None) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0]


def _logit_diff(logits: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    assert targets is not None
    return _logit(logits, targets, None) - _logit(logits, labels, None)


METRICS: dict[str, MetricKind] = {
    kind.key: kind
    for kind in (
        MetricKind("logit", "logit of the true class", _logit),
        MetricKind("logit-diff", "logit of the target class minus that of the true class", _logit_diff, True),
    )
}


def resolve_metric(key: str, params: Mapping[str, Scalar] | None = None) -> Metric:
    """The metric with its version, as recipes hold it.

    Raises:
        InputError: no such metric, or parameters it does not take (none takes any).
    """
    kind = get_metric(key)
    if params:
        raise InputError(f"metric {key!r} takes no parameters, got {', '.join(sorted(params))}")
    return Metric.of(key, version=kind.version)


def get_metric(key: str) -> MetricKind:
    """The metric of this name.

    Raises:
        InputError: no such metric; names the nearest.
    """
    if key not in METRICS:
        raise unknown("metric", key, METRICS)
    return METRICS[key]
