"""Pairs of images with a metric."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import Metric, digest
from ..errors import InputError
from ..models import ViT
from .metrics import METRICS, MetricInput, MetricKind
from .pairs import ImagePairs, shown, where

_AT_ONCE = 32
"""Clean images per forward pass, for metrics that need the clean logits."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredPairs(ImagePairs):
    """Image pairs with a metric. Created by `measure`.

    Attributes:
        metric: the metric with its parameters.
        clean_logits: logits of the unpatched model on the clean images, for metrics that need them.
    """

    metric: Metric
    clean_logits: Float[Tensor, "image class"] | None = None

    def values(self, logits: Float[Tensor, "image class"]) -> Float[Tensor, "image"]:
        """Return the metric per image."""
        return self._kind.values(logits, self._input(logits.device), **dict(self.metric.params))

    @property
    def _kind(self) -> MetricKind:
        return METRICS[self.metric.kind]

    def raised(self) -> Tensor:
        """Return the class that the metric raises, per image."""
        return self._kind.raised(self._input(torch.device("cpu")))

    def hits(self, logits: Float[Tensor, "image class"]) -> Float[Tensor, "image"]:
        """Return 1 where the top class is the one that the metric raises, else 0."""
        return (logits.argmax(dim=1).cpu() == self.raised()).double()

    def _input(self, device: torch.device) -> MetricInput:
        targets, clean = self.targets if self._kind.needs_targets else None, self.clean_logits
        return MetricInput(
            self.labels.to(device),
            None if targets is None else targets.to(device),
            None if clean is None else clean.to(device),
        )

    @property
    def digest(self) -> str:
        """Hash of the images, the classes and the metric."""
        return digest([self.metric.to_dict(), super().digest])


def measure(model: ViT, pairs: ImagePairs, metric: str | Metric) -> MeasuredPairs:
    """Attach a metric to image pairs.

    Args:
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.

    Raises:
        InputError: pairs made for another kind of model, an unknown metric, or a metric whose targets are missing or
            equal to the true classes.

    Examples:
        >>> measured = measure(model, pairs, "logit")
        >>> measured.values(model.logits(measured.clean)).shape
        torch.Size([8])
    """
    check_pairs(model, pairs)
    resolved = METRICS.resolve(metric) if isinstance(metric, str) else metric
    kind = METRICS[resolved.kind]
    if kind.needs_targets:
        _check_targets(pairs, kind)
    logits = _clean_logits(model, pairs.clean) if kind.needs_clean else None
    plain = {field.name: getattr(pairs, field.name) for field in fields(ImagePairs)}
    return MeasuredPairs(**plain, metric=resolved, clean_logits=logits)


def check_pairs(model: ViT, pairs: object) -> None:
    """Check that pairs are `ImagePairs` made for this kind of model.

    Raises:
        InputError: they are not.
    """
    if not isinstance(pairs, ImagePairs):
        raise InputError(
            f"pairs: expected ImagePairs, got {type(pairs).__name__}; create them from tensors with "
            "cs.ImagePairs.of(model, clean, corrupted, labels)"
        )
    pairs.check_fit(model)


def _check_targets(pairs: ImagePairs, metric: MetricKind) -> None:
    if pairs.targets is None:
        raise InputError(f"targets: the metric {metric.key!r} needs a target class per image, got none")
    same = where(pairs.targets.cpu() == pairs.labels.cpu())
    if same:
        raise InputError(
            f"targets: the metric {metric.key!r} contrasts a target class with the true class, but they are the same "
            f"for image {shown(same)} (counted from 0), whose scores would all be 0; pass another target class, or "
            "leave these images out"
        )


def _clean_logits(model: ViT, clean: Tensor) -> Float[Tensor, "image class"]:
    """Return the logits of the unpatched model, in the type in which metrics use them."""
    return torch.cat([model.logits(part).to(model.exact_dtype) for part in clean.split(_AT_ONCE)])
