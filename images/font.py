"""A small pixel font, so that drawn words do not depend on installed fonts or on the version of a library.

It has capitals, digits and some punctuation, 5 × 7 pixels each and one pixel apart. Lower case is drawn as capitals and
accents are dropped; other characters raise an error.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from jaxtyping import Bool

from ..errors import InputError

HEIGHT, WIDTH, GAP = 7, 5, 1

_ROWS = (
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


@cache
def _glyphs() -> dict[str, Bool[np.ndarray, "height width"]]:
    """Return every character of the table as a mask."""
    glyphs = {}
    for signs, *lines in _ROWS:
        for i, sign in enumerate(signs):
            cut = [line.ljust(len(signs) * (WIDTH + GAP))[i * (WIDTH + GAP) :][:WIDTH] for line in lines]
            glyphs[sign] = np.array([[c == "#" for c in row] for row in cut])
    return glyphs


def spell(text: str) -> str:
    """Convert a text to the font's characters: capitals without accents, `_` and runs of blanks as one blank.

    Raises:
        InputError: the text is empty, or the font lacks one of its characters.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = " ".join(plain.replace("_", " ").replace("’", "'").upper().split())
    lacking = sorted(set(plain) - set(_glyphs()))
    if lacking or not plain:
        what = f"the font has no {' '.join(lacking)}" if lacking else "there is nothing to write"
        raise InputError(
            f"text {text!r}: {what}; expected characters from {''.join(_glyphs())}, in upper or lower case"
        )
    return plain


def line_width(n_signs: int) -> int:
    """Return the width in font pixels of a line of `n_signs` characters."""
    return n_signs * (WIDTH + GAP) - GAP


def draw_line(line: str) -> Bool[np.ndarray, "height width"]:
    """Return a line from `spell` as a mask of 7 rows, True for ink."""
    mask = np.zeros((HEIGHT, line_width(len(line))), bool)
    for i, sign in enumerate(line):
        mask[:, i * (WIDTH + GAP) :][:, :WIDTH] = _glyphs()[sign]
    return mask
