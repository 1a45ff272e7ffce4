"""Arrange a text on an image: its letters as blocks of pixels, and the place of each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool

from ..errors import InputError
from .font import FONTS, GAP, Font, FontName
from .seeds import Draws

Place = Literal["top", "centre", "bottom", "random", "scattered", "border"]
"""`top`, `centre` and `bottom` are centred, and copies are stacked; `random` is drawn for each copy, so copies may
overlap, while `scattered` copies do not; `border` is along all four sides, the text of the sides rotated."""

PLACES: tuple[Place, ...] = get_args(Place)

Colour = tuple[int, int, int]

LINE_GAP = 2
"""Font pixels between lines and between scattered copies."""


@dataclass(frozen=True)
class Lettering:
    """How words are written.

    Attributes:
        size: height of the letters as a share of the image's height; rounded to a multiple of the font's height, and
            reduced if the text does not fit.
        place: see `Place`.
        number: number of copies; at a fixed place they are stacked, along the border they follow each other.
        colour: red, green, blue, 0 to 255; None for no letters: the outline's colour fills the block of the text.
        outline: colour of the one font pixel around the letters; None for no outline.
        font: name of the font.
    """

    size: float
    place: Place
    number: int
    colour: Colour | None
    outline: Colour | None
    font: FontName = "5x7"


class Block(NamedTuple):
    """A piece of text on an image: the mask of its letters, and its top left corner in pixels."""

    mask: Bool[np.ndarray, "rows columns"]
    top: int
    left: int


class Sheet(NamedTuple):
    """The image that a text is arranged on, and how large the letters are.

    Attributes:
        height: height of the image in pixels.
        width: width of the image in pixels.
        font: the font.
        scale: pixels per font pixel.
    """

    height: int
    width: int
    font: Font
    scale: int

    @property
    def margin(self) -> int:
        """Distance of the text from the edge: 1/48 of the image's height."""
        return self.height // 48

    def has_room(self, mask: Bool[np.ndarray, "rows columns"]) -> bool:
        return mask.shape[0] <= self.height and mask.shape[1] <= self.width


def arrange(text: str, style: Lettering, height: int, width: int, draws: Draws) -> tuple[list[Block], int]:
    """Return the blocks of a text on an image at the largest scale at which they fit, and this scale.

    Args:
        text: a text from `spell`.
        style: how to write it.
        height: height of the image in pixels.
        width: width of the image in pixels.
        draws: random choices.

    Raises:
        InputError: the text does not fit at the smallest scale.
    """
    font = FONTS[style.font]
    for scale in range(max(1, round(style.size * height / font.height)), 0, -1):
        blocks = _blocks(text, style, Sheet(height, width, font, scale), draws)
        if blocks:
            return blocks, scale
    smaller = "" if style.font == "3x5" else " or the font 3x5"
    raise InputError(
        f"text {text!r}: {style.number} × {len(text)} letters, place {style.place}, do not fit on an image of "
        f"{width} × {height} pixels; use a shorter text, fewer copies{smaller}"
    )


def _blocks(text: str, style: Lettering, sheet: Sheet, draws: Draws) -> list[Block]:
    """Return the blocks of a text at one scale; none if they do not fit."""
    match style.place:
        case "random":
            return _at_random(text, style.number, sheet, draws)
        case "scattered":
            return _scattered(text, style.number, sheet, draws)
        case "border":
            return _along_border(text, style.number, sheet)
        case place:
            return _stacked(text, place, style.number, sheet)


def _stacked(text: str, place: Literal["top", "centre", "bottom"], number: int, sheet: Sheet) -> list[Block]:
    mask = _typeset(text, number, sheet)
    if not sheet.has_room(mask):
        return []
    free = sheet.height - mask.shape[0]
    margin = min(sheet.margin, free)
    top = {"top": margin, "centre": free // 2, "bottom": free - margin}[place]
    return [Block(mask, top, (sheet.width - mask.shape[1]) // 2)]


def _at_random(text: str, number: int, sheet: Sheet, draws: Draws) -> list[Block]:
    mask = _typeset(text, 1, sheet)
    if not sheet.has_room(mask):
        return []
    rows, columns = sheet.height - mask.shape[0] + 1, sheet.width - mask.shape[1] + 1
    return [Block(mask, draws.below(rows), draws.below(columns)) for _ in range(number)]


def _scattered(text: str, number: int, sheet: Sheet, draws: Draws) -> list[Block]:
    """Divide the image into cells, and place each copy at random in its own cell."""
    mask = _typeset(text, 1, sheet)
    gap = LINE_GAP * sheet.scale
    sides = [(length + gap, size + gap) for length, size in zip(sheet[:2], mask.shape, strict=True)]
    counts = [length // size for length, size in sides]
    if counts[0] * counts[1] < number:
        return []
    cells = [length // count for (length, _), count in zip(sides, counts, strict=True)]
    free = [cell - size + 1 for cell, (_, size) in zip(cells, sides, strict=True)]
    blocks = []
    for cell in draws.permutation(counts[0] * counts[1])[:number]:
        row, column = divmod(cell, counts[1])
        blocks.append(Block(mask, row * cells[0] + draws.below(free[0]), column * cells[1] + draws.below(free[1])))
    return blocks


def _along_border(text: str, number: int, sheet: Sheet) -> list[Block]:
    """Write above and below, and between these at the sides: upwards at the left, downwards at the right."""
    mask = _enlarge(sheet.font.draw_line(" ".join([text] * number)), sheet.scale)
    rows, columns = mask.shape
    band = sheet.margin + rows
    between = sheet.height - 2 * (band + GAP * sheet.scale)
    if columns > min(sheet.width, between) or 2 * band > sheet.width:
        return []
    across, down = (sheet.width - columns) // 2, (sheet.height - columns) // 2
    return [
        Block(mask, sheet.margin, across),
        Block(mask, sheet.height - band, across),
        Block(np.rot90(mask), down, sheet.margin),
        Block(np.rot90(mask, -1), down, sheet.width - band),
    ]


def _typeset(text: str, copies: int, sheet: Sheet) -> Bool[np.ndarray, "rows columns"]:
    """Return stacked copies of the text, wrapped at blanks."""
    return _enlarge(_stack(_wrap(text, sheet.width // sheet.scale, sheet.font) * copies, sheet.font), sheet.scale)


def _enlarge(mask: Bool[np.ndarray, "rows columns"], scale: int) -> Bool[np.ndarray, "height width"]:
    return mask.repeat(scale, 0).repeat(scale, 1)


def _wrap(text: str, width: int, font: Font) -> list[str]:
    """Break a text at blanks into lines of at most `width` font pixels; a longer word gets its own line."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.line_width(len(longer)) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _stack(lines: list[str], font: Font) -> Bool[np.ndarray, "rows columns"]:
    """Stack centred lines, two font pixels apart."""
    drawn, step = [font.draw_line(line) for line in lines], font.height + LINE_GAP
    columns = max(d.shape[1] for d in drawn)
    mask = np.zeros((len(lines) * step - LINE_GAP, columns), bool)
    for i, line in enumerate(drawn):
        left = (columns - line.shape[1]) // 2
        mask[i * step :][: font.height, left : left + line.shape[1]] = line
    return mask
