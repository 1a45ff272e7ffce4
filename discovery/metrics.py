"""What is scored: one number per image from its logits, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import Metric
from ..circuits.recipe import Scalar
from ..errors import InputError, unknown

Classes = Int[Tensor, "image"]
Logits = Float[Tensor, "image class"]


@dataclass(frozen=True)
class Asked:
    """What a metric reads beside a run's logits, image by image.

    Attributes:
        labels: true classes.
        targets: target classes, where the metric needs them.
        clean: logits of the plain model on the clean images, where the metric is held against them.
    """

    labels: Classes
    targets: Classes | None = None
    clean: Logits | None = None

    def part(self, images: slice) -> Asked:
        """The same for some of the images."""
        return self._each(lambda values: values[images])

    def to(self, device: torch.device) -> Asked:
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Asked:
        targets = None if self.targets is None else change(self.targets)
        return Asked(change(self.labels), targets, None if self.clean is None else change(self.clean))


@dataclass(frozen=True)
class MetricKind:
    """A metric by name.

    Attributes:
        key: what specs and calls name.
        about: one sentence for people.
        values: per image, from a run's logits.
        needs_targets: asks for a target class per image besides the true one.
        needs_clean: is held against the clean run's logits.
    """

    key: str
    about: str
    values: Callable[[Logits, Asked], Float[Tensor, "image"]]
    needs_targets: bool = False
    needs_clean: bool = False
    version: int = 1

    @property
    def params(self) -> Mapping[str, str]:
        """The parameters that it takes, all optional, and their values in words."""
        aim = "the name, label or index of a class; by default the class that the attack aims at"
        return {"target": aim} if self.needs_targets else {}

    def raised(self, asked: Asked) -> Classes:
        """The class that the metric raises, per image: accuracy is the share of images whose top class it is."""
        return asked.targets if self.needs_targets and asked.targets is not None else asked.labels


def _of(logits: Logits, classes: Classes) -> Float[Tensor, "image"]:
    return logits.gather(1, classes[:, None])[:, 0]


def _logit(logits: Logits, asked: Asked) -> Float[Tensor, "image"]:
    return _of(logits, asked.labels)


def _logit_diff(logits: Logits, asked: Asked) -> Float[Tensor, "image"]:
    assert asked.targets is not None
    return _of(logits, asked.targets) - _of(logits, asked.labels)


def _over_mean(logits: Logits, asked: Asked) -> Float[Tensor, "image"]:
    true = _of(logits, asked.labels)
    return true - (logits.sum(dim=1) - true) / (logits.shape[1] - 1)


def _over_rival(logits: Logits, asked: Asked) -> Float[Tensor, "image"]:
    assert asked.clean is not None
    rival = asked.clean.scatter(1, asked.labels[:, None], -torch.inf).argmax(dim=1)
    return _of(logits, asked.labels) - _of(logits, rival)


def _minus_kl(logits: Logits, asked: Asked) -> Float[Tensor, "image"]:
    assert asked.clean is not None
    clean = asked.clean.log_softmax(dim=1)
    return (clean.exp() * (logits.to(clean.dtype).log_softmax(dim=1) - clean)).sum(dim=1)


METRICS: dict[str, MetricKind] = {
    kind.key: kind
    for kind in (
        MetricKind("logit", "logit of the true class", _logit),
        MetricKind("logit-diff", "logit of the target class minus that of the true class", _logit_diff, True),
        MetricKind("logit-over-mean", "logit of the true class minus the mean of all others", _over_mean),
        MetricKind(
            "logit-over-rival",
            "logit of the true class minus that of its rival, the best other class on the clean image",
            _over_rival,
            needs_clean=True,
        ),
        MetricKind(
            "kl",
            "minus the KL divergence of the run's class probabilities from the clean run's: 0 at best",
            _minus_kl,
            needs_clean=True,
        ),
    )
}


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


def unmoved(metric: MetricKind) -> InputError:
    """The error of methods that choose edges by what the metric loses, where corruption takes nothing from it."""
    return InputError(
        f"the metric {metric.key!r} is the same on clean and corrupted images, so no edge matters and any ranking of "
        "them would be of nothing; give another corruption"
    )


def resolve_metric(key: str, params: Mapping[str, Scalar] | None = None) -> Metric:
    """The metric with its parameters and version, as recipes hold it.

    A metric with target classes takes `target`: a class by its name, label or index. Without it the target is the class
    that the attack aims at.

    Raises:
        InputError: no such metric, or a parameter that it does not take.
    """
    kind, given = get_metric(key), params or {}
    for name in given:
        if name not in kind.params:
            raise unknown(f"parameter of {key}", name, kind.params)
    target = given.get("target")
    if target is None:
        return Metric.of(key, version=kind.version)
    if isinstance(target, bool | float) or not str(target).strip():
        raise InputError(f"metric {key!r}: target: expected the name, label or index of a class, got {target!r}")
    return Metric.of(key, {"target": " ".join(str(target).split())}, kind.version)


def get_metric(key: str) -> MetricKind:
    """The metric of this name.

    Raises:
        InputError: no such metric; names the nearest.
    """
    if key not in METRICS:
        raise unknown("metric", key, METRICS)
    return METRICS[key]
