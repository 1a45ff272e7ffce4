"""The pixel fonts: letters that differ, spelling, errors."""

from __future__ import annotations

import string

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images.font import FONTS, Font, spell
from hypothesis import given
from hypothesis import strategies as st

SIGNS = string.ascii_uppercase + string.digits + "-.,'!?&/()"


@pytest.mark.parametrize(("name", "expected"), [("5x7", ["#####", *["..#.."] * 6]), ("3x5", ["###", *[".#."] * 4])])
def test_a_letter_by_hand(name: str, expected: list[str]) -> None:
    rows = ["".join(".#"[int(p)] for p in row) for row in FONTS[name].draw_line("T")]
    assert rows == expected


@pytest.mark.parametrize("font", FONTS.values(), ids=FONTS)
def test_all_characters_differ_and_none_is_blank(font: Font) -> None:
    assert set(font.glyphs) == {*SIGNS, " "}
    shapes = {font.draw_line(sign).tobytes() for sign in SIGNS}
    assert len(shapes) == len(SIGNS)
    assert all(font.draw_line(sign).any() for sign in SIGNS)


@given(st.text(SIGNS + " ", min_size=1, max_size=20), st.sampled_from(list(FONTS.values())))
def test_a_line_is_its_signs_side_by_side(line: str, font: Font) -> None:
    drawn, step = font.draw_line(line), font.width + 1
    assert drawn.shape == (font.height, font.line_width(len(line)))
    for i, sign in enumerate(line):
        assert np.array_equal(drawn[:, step * i : step * i + font.width], font.draw_line(sign))
    assert not drawn[:, font.width :: step].any()


def test_spelling() -> None:
    assert spell(" great_white  shark ") == "GREAT WHITE SHARK"
    assert spell("Bière, Crème’s") == "BIERE, CREME'S"


@pytest.mark.parametrize("text", ["", " _ ", "日本", "a+b"])
def test_a_text_that_cannot_be_spelt_raises(text: str) -> None:
    with pytest.raises(InputError, match=r"expected characters from ABC"):
        spell(text)


def test_the_error_names_the_missing_character() -> None:
    with pytest.raises(InputError, match=r"text 'a\+b': the font has no \+"):
        spell("a+b")
