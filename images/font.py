"""Two small pixel fonts, so that drawn words do not depend on installed fonts or on the version of a library.

They have capitals, digits and some punctuation, 5 × 7 or 3 × 5 pixels each and one pixel apart. Lower case is drawn as
capitals and accents are dropped; other characters raise an error.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool

from ..errors import InputError

GAP = 1
"""Font pixels between letters."""

FontName = Literal["5x7", "3x5"]
FONT_NAMES: tuple[FontName, ...] = get_args(FontName)

_ROWS_5X7 = (
    (
        "ABCDEFGHI",
        " ###  ####   ###  ####  ##### #####  ###  #   #  ### ",
        "#   # #   # #   # #   # #     #     #   # #   #   #  ",
        "#   # #   # #     #   # #     #     #     #   #   #  ",
        "##### ####  #     #   # ####  ####  # ### #####   #  ",
        "#   # #   # #     #   # #     #     #   # #   #   #  ",
        "#   # #   # #   # #   # #     #     #   # #   #   #  ",
        "#   # ####   ###  ####  ##### #      #### #   #  ### ",
    ),
    (
        "JKLMNOPQR",
        "  ### #   # #     #   # #   #  ###  ####   ###  #### ",
        "   #  #  #  #     ## ## #   # #   # #   # #   # #   #",
        "   #  # #   #     # # # ##  # #   # #   # #   # #   #",
        "   #  ##    #     # # # # # # #   # ####  #   # #### ",
        "   #  # #   #     #   # #  ## #   # #     # # # # #  ",
        "#  #  #  #  #     #   # #   # #   # #     #  #  #  # ",
        " ##   #   # ##### #   # #   #  ###  #      ## # #   #",
    ),
    (
        "STUVWXYZ-",
        " #### ##### #   # #   # #   # #   # #   # #####      ",
        "#       #   #   # #   # #   # #   # #   #     #      ",
        "#       #   #   # #   # #   #  # #   # #     #       ",
        " ###    #   #   # #   # # # #   #     #     #   #####",
        "    #   #   #   # #   # # # #  # #    #    #         ",
        "    #   #   #   #  # #  ## ## #   #   #   #          ",
        "####    #    ###    #   #   # #   #   #   #####      ",
    ),
    (
        "0123456789",
        " ###    #    ###  #####    #  #####  ###  #####  ###   ### ",
        "#   #  ##   #   #    #    ##  #     #     #   # #   # #   #",
        "#  ##   #       #   #    # #  ####  #        #  #   # #   #",
        "# # #   #      #     #  #  #      # ####    #    ###   ####",
        "##  #   #     #       # #####     # #   #   #   #   #     #",
        "#   #   #    #    #   #    #  #   # #   #   #   #   #     #",
        " ###   ###  #####  ###     #   ###   ###    #    ###   ### ",
    ),
    (
        " .,'!?&/()",
        "                    #     #    ###   #          #   #      ",
        "                    #     #   #   # #  #     # #     #     ",
        "                   #      #       # # #     # #       #    ",
        "                          #      #   #     #  #       #    ",
        "                          #     #   # # # #   #       #    ",
        "       ##    ##                     #  # #     #     #     ",
        "       ##    #            #     #    ## #       #   #      ",
    ),
)

_ROWS_3X5 = (
    (
        "ABCDEFGHIJKLM",
        " #  ##   ## ##  ### ###  ## # # ###   # # # #   # #",
        "# # # # #   # # #   #   #   # #  #    # # # #   ###",
        "### ##  #   # # ##  ##  # # ###  #    # ##  #   ###",
        "# # # # #   # # #   #   # # # #  #  # # # # #   # #",
        "# # ##   ## ##  ### #    ## # # ###  #  # # ### # #",
    ),
    (
        "NOPQRSTUVWXYZ-",
        "##   #  ##   #  ##   ## ### # # # # # # # # # # ###    ",
        "# # # # # # # # # # #    #  # # # # # # # # # #   #    ",
        "# # # # ##  # # ##   #   #  # # # # ###  #   #   #  ###",
        "# # # # #    #  # #   #  #  # # # # ### # #  #  #      ",
        "# #  #  #     # # # ##   #  ###  #  # # # #  #  ###    ",
    ),
    (
        "0123456789",
        "###  #  ##  ##  # # ###  ## ### ### ###",
        "# # ##    #   # # # #   #     # # # # #",
        "# #  #   #   #  ### ##  ###   # ### ###",
        "# #  #  #     #   #   # # #  #  # #   #",
        "### ### ### ##    # ##  ###  #  ### ## ",
    ),
    (
        " .,'!?&/()",
        "             #   #  ##   #    #   # #  ",
        "             #   #    # # #   #  #   # ",
        "                 #   #   #   #   #   # ",
        "         #              # # #    #   # ",
        "     #  #        #   #   ## #     # #  ",
    ),
)


@dataclass(frozen=True, eq=False)
class Font:
    """A font of letters of the same size.

    Attributes:
        height: height of a letter in font pixels.
        width: its width.
        rows: the letters, line by line: first the characters, then their rows side by side, `#` for ink.
    """

    height: int
    width: int
    rows: tuple[tuple[str, ...], ...]

    @cached_property
    def glyphs(self) -> dict[str, Bool[np.ndarray, "height width"]]:
        """Every character as a mask."""
        step, glyphs = self.width + GAP, {}
        for signs, *lines in self.rows:
            for i, sign in enumerate(signs):
                cut = [line.ljust(len(signs) * step)[i * step :][: self.width] for line in lines]
                glyphs[sign] = np.array([[c == "#" for c in row] for row in cut])
        return glyphs

    def line_width(self, n_signs: int) -> int:
        """Return the width in font pixels of a line of `n_signs` characters."""
        return n_signs * (self.width + GAP) - GAP

    def draw_line(self, line: str) -> Bool[np.ndarray, "height width"]:
        """Return a line from `spell` as a mask, True for ink."""
        mask = np.zeros((self.height, self.line_width(len(line))), bool)
        for i, sign in enumerate(line):
            mask[:, i * (self.width + GAP) :][:, : self.width] = self.glyphs[sign]
        return mask


FONTS: dict[FontName, Font] = {"5x7": Font(7, 5, _ROWS_5X7), "3x5": Font(5, 3, _ROWS_3X5)}
"""The fonts by name; both have the same characters."""


def spell(text: str) -> str:
    """Convert a text to the fonts' characters: capitals without accents, `_` and runs of blanks as one blank.

    Raises:
        InputError: the text is empty, or the fonts lack one of its characters.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = " ".join(plain.replace("_", " ").replace("’", "'").upper().split())
    signs = FONTS["5x7"].glyphs
    lacking = sorted(set(plain) - set(signs))
    if lacking or not plain:
        what = f"the font has no {' '.join(lacking)}" if lacking else "there is nothing to write"
        raise InputError(f"text {text!r}: {what}; expected characters from {''.join(signs)}, in upper or lower case")
    return plain
