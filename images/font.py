"""A small pixel font, so that drawn words never depend on installed fonts or on the version of a library.

Capitals, digits and a few signs, 5 × 7 pixels each and one pixel apart. Lower case is drawn as capitals,
accents are dropped; a sign that the font lacks is refused by name.
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
    """Every sign of the table, cut out of its row."""
    glyphs = {}
    for signs, *lines in _ROWS:
        for i, sign in enumerate(signs):
            cut = [line.ljust(len(signs) * (WIDTH + GAP))[i * (WIDTH + GAP) :][:WIDTH] for line in lines]
            glyphs[sign] = np.array([[c == "#" for c in row] for row in cut])
    return glyphs


def spell(text: str) -> str:
    """`text` in the signs of the font: capitals, without accents, `_` and runs of blanks as one blank.

    Raises:
        InputError: nothing to draw, or a sign that the font lacks.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = " ".join(plain.replace("_", " ").replace("’", "'").upper().split())
    lacking = sorted(set(plain) - set(_glyphs()))
    if lacking or not plain:
        what = f"the font has no {' '.join(lacking)}" if lacking else "there is nothing to write"
        raise InputError(f"text {text!r}: {what}; expected some of {''.join(_glyphs())}, in capitals or not")
    return plain


def line_width(n_signs: int) -> int:
    """Font pixels that a line of `n_signs` takes."""
    return n_signs * (WIDTH + GAP) - GAP


def draw_line(line: str) -> Bool[np.ndarray, "height width"]:
    """One spelt line as a mask of 7 font pixels' height, True where the ink is."""
    mask = np.zeros((HEIGHT, line_width(len(line))), bool)
    for i, sign in enumerate(line):
        mask[:, i * (WIDTH + GAP) :][:, :WIDTH] = _glyphs()[sign]
    return mask
