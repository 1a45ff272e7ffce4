"""Write words on an image in whole pixels: the same arguments give the same bytes on every machine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from .font import spell
from .lettering import Block, Lettering, arrange
from .seeds import Draws

PLAIN = Lettering(size=0.15, place="bottom", number=1, colour=(255, 255, 255), outline=(0, 0, 0))
"""White with a black outline, once, at the bottom."""


def write(
    view: UInt8[np.ndarray, "height width 3"], text: str, style: Lettering, draws: Draws
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a copy of the image with the text on it.

    Args:
        view: the image.
        text: the text.
        style: how to write it.
        draws: random choices, used only by the places `random` and `scattered`.

    Raises:
        InputError: the text does not fit at the smallest size, or the font lacks one of its characters.
    """
    height, width, _ = view.shape
    blocks, scale = arrange(spell(text), style, height, width, draws)
    image = view.copy()
    for block in blocks:
        _stamp(image, block, scale, style)
    return image


def _stamp(image: UInt8[np.ndarray, "height width 3"], block: Block, scale: int, style: Lettering) -> None:
    """Draw the outline (`scale` pixels wide) and then the ink, in place."""
    ink = np.zeros(image.shape[:2], bool)
    rows, columns = block.mask.shape
    ink[block.top : block.top + rows, block.left : block.left + columns] = block.mask | (style.colour is None)
    if style.outline is not None:
        image[_grow(ink, scale)] = style.outline
    if style.colour is not None:
        image[ink] = style.colour


def _grow(ink: Bool[np.ndarray, "height width"], by: int) -> Bool[np.ndarray, "height width"]:
    """Return the mask grown by `by` rows and columns in every direction."""
    for axis in (0, 1):
        grown = ink.copy()
        for step in range(1, by + 1):
            below, above = (np.roll(ink, sign * step, axis) for sign in (1, -1))
            edge = [slice(None)] * 2
            edge[axis] = slice(0, step)
            below[tuple(edge)] = False
            edge[axis] = slice(-step, None)
            above[tuple(edge)] = False
            grown |= below | above
        ink = grown
    return ink
