"""Write words on an image in whole pixels: the same arguments give the same bytes on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, UInt8

from ..errors import InputError
from .font import HEIGHT, draw_line, line_width, spell
from .seeds import Draws

Place = Literal["top", "centre", "bottom", "random"]
PLACES: tuple[Place, ...] = get_args(Place)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Lettering:
    """How words are written.

    Attributes:
        size: height of the letters as a share of the image's height; rounded to a multiple of 7 pixels, and reduced
            if the text does not fit.
        place: `top`, `centre` or `bottom`, centred; or `random`, chosen for every copy.
        number: number of copies; at a fixed place they are stacked.
        colour: red, green, blue, 0 to 255.
        outline: colour of the one font pixel around the letters; None for no outline.
    """

    size: float
    place: Place
    number: int
    colour: Colour
    outline: Colour | None


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
        draws: random choices, used only by the place `random`.

    Raises:
        InputError: the text does not fit at the smallest size, or the font lacks one of its characters.
    """
    height, width, _ = view.shape
    copies = 1 if style.place == "random" else style.number
    mask, scale = _typeset(spell(text), copies, style.size, height, width)
    image = view.copy()
    for _ in range(style.number // copies):
        top, left = _corner(mask.shape, (height, width), style.place, draws)
        _stamp(image, mask, top, left, scale, style)
    return image


def _typeset(
    text: str, copies: int, size: float, height: int, width: int
) -> tuple[Bool[np.ndarray, "rows columns"], int]:
    """Return the stacked copies of the text, wrapped at blanks, and the largest scale at which they fit."""
    for scale in range(max(1, round(size * height / HEIGHT)), 0, -1):
        lines = _wrap(text, width // scale) * copies
        mask = _stack(lines)
        if mask.shape[0] * scale <= height and mask.shape[1] * scale <= width:
            return mask.repeat(scale, 0).repeat(scale, 1), scale
    raise InputError(
        f"text {text!r}: {copies} × {len(text)} letters do not fit on an image of {width} × {height} pixels; "
        "use a shorter text or fewer copies"
    )


def _wrap(text: str, width: int) -> list[str]:
    """Break a text at blanks into lines of at most `width` font pixels; a longer word gets its own line."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or line_width(len(longer)) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _stack(lines: list[str]) -> Bool[np.ndarray, "rows columns"]:
    """Stack centred lines, two font pixels apart."""
    drawn = [draw_line(line) for line in lines]
    columns = max(d.shape[1] for d in drawn)
    mask = np.zeros((len(lines) * (HEIGHT + 2) - 2, columns), bool)
    for i, line in enumerate(drawn):
        left = (columns - line.shape[1]) // 2
        mask[i * (HEIGHT + 2) :][:HEIGHT, left : left + line.shape[1]] = line
    return mask


def _corner(block: tuple[int, ...], image: tuple[int, int], place: Place, draws: Draws) -> tuple[int, int]:
    """Return the block's top left corner, with a margin of 1/48 of the image's height at the top and bottom."""
    free_rows, free_columns = image[0] - block[0], image[1] - block[1]
    margin = min(image[0] // 48, free_rows)
    match place:
        case "top":
            return margin, free_columns // 2
        case "centre":
            return free_rows // 2, free_columns // 2
        case "bottom":
            return free_rows - margin, free_columns // 2
        case "random":
            return draws.below(free_rows + 1), draws.below(free_columns + 1)


def _stamp(
    image: UInt8[np.ndarray, "height width 3"], mask: np.ndarray, top: int, left: int, scale: int, style: Lettering
) -> None:
    """Draw the outline (`scale` pixels wide) and then the ink, in place."""
    ink = np.zeros(image.shape[:2], bool)
    ink[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    if style.outline is not None:
        image[_grow(ink, scale)] = style.outline
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
