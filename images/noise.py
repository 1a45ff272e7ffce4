"""Noise on the pixels of an image, rounded to 8 bits."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from .seeds import Draws

View = UInt8[np.ndarray, "height width 3"]


def add_normal(view: View, std: float, draws: Draws) -> View:
    """Return the image with normal noise of standard deviation `std` (in pixels of [0, 1]) on every channel."""
    return to_8_bits(view + 255 * std * draws.normal(*view.shape))


def add_signs(view: View, levels: int, draws: Draws) -> View:
    """Return the image with every channel of every pixel moved up or down by a number of grey levels."""
    return (view.astype(np.int16) + levels * draws.signs(*view.shape)).clip(0, 255).astype(np.uint8)


def to_8_bits(view: np.ndarray) -> View:
    """Round grey levels, and clip them to 0 to 255."""
    return np.floor(view + 0.5).clip(0, 255).astype(np.uint8)
