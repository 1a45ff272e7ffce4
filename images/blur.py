"""Blur of images by a Gaussian, in integer arithmetic: the same bytes on every machine."""

from __future__ import annotations

from math import ceil

import numpy as np
from jaxtyping import Int, UInt8


def blur(views: UInt8[np.ndarray, "image height width 3"], sigma: float) -> UInt8[np.ndarray, "image height width 3"]:
    """Return images blurred by a Gaussian with standard deviation `sigma` in pixels; border pixels are repeated.

    Intermediate values have 12 bits, to avoid rounding twice.
    """
    weights = _gaussian(sigma)
    smooth = _smooth(_smooth(views.astype(np.int64) * 16, weights, 1), weights, 2)
    return ((smooth + 8) // 16).clip(0, 255).astype(np.uint8)


def _gaussian(sigma: float) -> Int[np.ndarray, "tap"]:
    """Return integer weights out to three standard deviations (pixels)."""
    reach = max(1, ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.rint(weights * 65536).astype(np.int64)


def _smooth(images: Int[np.ndarray, "..."], weights: Int[np.ndarray, "tap"], axis: int) -> Int[np.ndarray, "..."]:
    """Return the weighted mean along an axis, rounded.

    The sums of integer products stay under 2^53, so they are exact in floating point, in any order.
    """
    length, reach, total = images.shape[axis], len(weights) // 2, int(weights.sum())
    band = np.zeros((length, length))
    rows = np.arange(length)
    for offset, weight in enumerate(weights, start=-reach):
        np.add.at(band, (rows, np.clip(rows + offset, 0, length - 1)), weight)
    sums = np.tensordot(band, images.astype(np.float64), (1, axis)).astype(np.int64)
    return np.moveaxis((2 * sums + total) // (2 * total), 0, axis)
