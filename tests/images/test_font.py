"""The pixel font: letters that differ, spelling, errors."""

from __future__ import annotations

import string

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images.font import HEIGHT, draw_line, line_width, spell
from hypothesis import given
from hypothesis import strategies as st

SIGNS = string.ascii_uppercase + string.digits + "-.,'!?&/()"


def test_a_letter_by_hand() -> None:
    rows = ["".join(".#"[int(p)] for p in row) for row in draw_line("T")]
    assert rows == ["#####", *["..#.."] * 6]


def test_all_characters_differ_and_none_is_blank() -> None:
    shapes = {draw_line(sign).tobytes() for sign in SIGNS}
    assert len(shapes) == len(SIGNS)
    assert all(draw_line(sign).any() for sign in SIGNS)


@given(st.text(SIGNS + " ", min_size=1, max_size=20))
def test_a_line_is_its_signs_side_by_side(line: str) -> None:
    drawn = draw_line(line)
    assert drawn.shape == (HEIGHT, line_width(len(line)))
    for i, sign in enumerate(line):
        assert np.array_equal(drawn[:, 6 * i : 6 * i + 5], draw_line(sign))
    assert not drawn[:, 5::6].any()


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
