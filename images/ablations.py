"""Corruptions of activations: every sender's output is replaced by a constant, so there is no corrupted image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ..circuits import Corruption
from ..circuits.kinds import whole
from ..models import ConstantOutputs, ViT, mean_outputs, zero_outputs
from .contrasts import averaged, first_of_all
from .corruption_kind import CorruptionKind
from .source import ImageSource

_AT_ONCE = 32
"""Images per forward pass; fixed, so that means do not depend on the batch size of a run."""


def _mean(corruption: Corruption, source: ImageSource, model: ViT) -> ConstantOutputs:
    return mean_outputs(model, _batches(source, averaged(corruption), model))


def _batches(source: ImageSource, count: int, model: ViT) -> Iterator[Tensor]:
    """Yield up to `count` discovery images of all classes, the same as in `ImageSource.mean_view`."""
    views = []
    for view in source.first_views(count):
        views.append(view)
        if len(views) == _AT_ONCE:
            yield model.preprocess.normalise(np.stack(views))
            views.clear()
    if views:
        yield model.preprocess.normalise(np.stack(views))


ZERO = CorruptionKind(
    key="zero",
    name="every sender's output is replaced by zero; there is no corrupted image",
    constants=lambda corruption, source, model: zero_outputs(model),
)
MEAN = CorruptionKind(
    key="mean",
    name="every sender's output is replaced by its mean over images of all classes; there is no corrupted image",
    constants=_mean,
    params={"images": whole(256, 1, 100_000)},
    draws_on=first_of_all,
)
