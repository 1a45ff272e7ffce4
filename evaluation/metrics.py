"""Metrics: one number per image from its logits, higher is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import Metric
from ..circuits.kinds import ABSENT, Kind, Param, Registry
from ..circuits.recipe import Scalar

Classes = Int[Tensor, "image"]
Logits = Float[Tensor, "image class"]


@dataclass(frozen=True)
class MetricInput:
    """What a metric reads in addition to a run's logits, per image.

    Attributes:
        labels: true classes.
        targets: target classes, if the metric needs them.
        clean: logits of the unpatched model on the clean images, if the metric needs them.
    """

    labels: Classes
    targets: Classes | None = None
    clean: Logits | None = None


@dataclass(frozen=True, kw_only=True)
class MetricKind(Kind):
    """A metric.

    Attributes:
        values: returns the metric per image, given a run's logits, a `MetricInput`, and the parameters by name.
        needs_targets: whether it needs a target class per image in addition to the true class.
        needs_clean: whether it needs the logits of the clean run.
    """

    values: Callable[..., Float[Tensor, "image"]]
    needs_targets: bool = False
    needs_clean: bool = False

    def raised(self, inputs: MetricInput) -> Classes:
        """Return the class that the metric raises, per image. Accuracy is the share of images whose top class it is."""
        return inputs.targets if self.needs_targets and inputs.targets is not None else inputs.labels


def _of(logits: Logits, classes: Classes) -> Float[Tensor, "image"]:
    return logits.gather(1, classes[:, None])[:, 0]


def _logit(logits: Logits, inputs: MetricInput) -> Float[Tensor, "image"]:
    return _of(logits, inputs.labels)


def _logit_diff(logits: Logits, inputs: MetricInput, *, target: Scalar = None) -> Float[Tensor, "image"]:
    assert inputs.targets is not None  # guaranteed by needs_targets
    return _of(logits, inputs.targets) - _of(logits, inputs.labels)


def _probability(logits: Logits, inputs: MetricInput) -> Float[Tensor, "image"]:
    return _of(logits.softmax(dim=1), inputs.labels)


def _over_mean(logits: Logits, inputs: MetricInput) -> Float[Tensor, "image"]:
    true = _of(logits, inputs.labels)
    return true - (logits.sum(dim=1) - true) / (logits.shape[1] - 1)


def _over_rival(logits: Logits, inputs: MetricInput) -> Float[Tensor, "image"]:
    assert inputs.clean is not None
    rival = inputs.clean.scatter(1, inputs.labels[:, None], -torch.inf).argmax(dim=1)
    return _of(logits, inputs.labels) - _of(logits, rival)


def _minus_kl(logits: Logits, inputs: MetricInput) -> Float[Tensor, "image"]:
    assert inputs.clean is not None
    clean = inputs.clean.log_softmax(dim=1)
    return (clean.exp() * (logits.to(clean.dtype).log_softmax(dim=1) - clean)).sum(dim=1)


def _target(value: object) -> Scalar:
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
        raise ValueError(value)
    return " ".join(str(value).split())


TARGET = Param(ABSENT, "the name, label or index of a class; by default the class that the attack targets", _target)
"""The class that is contrasted with the true class. It is looked up in the images, which know the classes."""

METRICS: Registry[MetricKind, Metric] = Registry(
    "metric",
    "metrics",
    Metric,
    (
        MetricKind(key="logit", name="logit of the true class", values=_logit),
        MetricKind(
            key="logit-diff",
            name="logit of the target class minus that of the true class",
            values=_logit_diff,
            params={"target": TARGET},
            needs_targets=True,
        ),
        MetricKind(key="probability", name="softmax probability of the true class", values=_probability),
        MetricKind(
            key="logit-over-mean", name="logit of the true class minus the mean of all others", values=_over_mean
        ),
        MetricKind(
            key="logit-over-rival",
            name="logit of the true class minus that of its rival, the best other class on the clean image",
            values=_over_rival,
            needs_clean=True,
        ),
        MetricKind(
            key="kl",
            name="minus the KL divergence of the run's class probabilities from the clean run's: 0 at best",
            values=_minus_kl,
            needs_clean=True,
        ),
    ),
)
"""All metrics by key."""
