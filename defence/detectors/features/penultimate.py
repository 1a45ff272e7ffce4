"""Penultimate features: the pooled tokens that the classifier reads."""

from __future__ import annotations

import numpy as np

from ....evaluation.readouts.batched import read_images
from ..kind import Feature, Features
from ..seen import Seen


def _read(seen: Seen, base: object) -> Features:
    return read_images(seen.model, seen.images, seen.model.pooled, seen.execution).astype(np.float64)


PENULTIMATE = Feature(read=_read)
"""The pooled tokens that the classifier reads."""
