"""Writing on images: text, place, size, and unchanged pixels elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images.font import FONT_NAMES, FONTS
from circuitstore.images.lettering import PLACES, Lettering, arrange
from circuitstore.images.seeds import Draws
from circuitstore.images.writing import PLAIN, write
from hypothesis import given
from hypothesis import strategies as st

BARE = replace(PLAIN, outline=None)


def blank(height: int, width: int, grey: int = 100) -> np.ndarray:
    return np.full((height, width, 3), grey, np.uint8)


def ink(image: np.ndarray, colour: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    return (image == colour).all(-1)


def test_seven_at_the_bottom_of_a_small_image_pixel_by_pixel() -> None:
    image = write(blank(32, 32), "seven", BARE, Draws())
    assert np.array_equal(ink(image)[25:, 1:30], FONTS["5x7"].draw_line("SEVEN"))
    assert ink(image).sum() == FONTS["5x7"].draw_line("SEVEN").sum()
    assert (image[~ink(image)] == 100).all()


def test_the_outline_is_exactly_the_pixels_next_to_the_ink() -> None:
    image = write(blank(40, 40), "six", replace(PLAIN, colour=(255, 0, 0), outline=(0, 0, 255)), Draws())
    letters, ring = ink(image, (255, 0, 0)), ink(image, (0, 0, 255))
    padded = np.pad(letters, 1)
    near = np.any([padded[i : i + 40, j : j + 40] for i in range(3) for j in range(3)], axis=0)
    assert np.array_equal(ring, near & ~letters)
    assert (image[~near] == 100).all()


def test_letters_grow_with_the_image() -> None:
    image = write(blank(224, 224), "cat", BARE, Draws())
    rows = np.flatnonzero(ink(image).any(1))
    assert rows[-1] - rows[0] + 1 == 35  # 15 % of 224, as a multiple of 7
    assert 224 - 1 - rows[-1] == 224 // 48


def test_a_long_text_is_wrapped_at_blanks_then_made_smaller() -> None:
    wrapped = write(blank(64, 64), "great white shark", BARE, Draws())
    rows = ink(wrapped).any(1)
    assert np.diff(np.flatnonzero(rows)).max() == 3  # two pixels between lines: full size, three lines
    shrunk = write(blank(64, 64), "automobile", replace(BARE, size=0.5), Draws())
    assert np.flatnonzero(ink(shrunk).any(1)).size == 7


@pytest.mark.parametrize(("text", "number"), [("automobile", 1), ("six", 4)])
def test_a_text_that_does_not_fit_raises(text: str, number: int) -> None:
    with pytest.raises(InputError, match="do not fit on an image of 32 × 32"):
        write(blank(32, 32), text, replace(PLAIN, number=number), Draws())


@pytest.mark.parametrize("place", ["top", "centre", "bottom"])
def test_copies_are_stacked(place: str) -> None:
    one = write(blank(96, 96), "cat", replace(BARE, size=0.1, place=place), Draws())
    three = write(blank(96, 96), "cat", replace(BARE, size=0.1, place=place, number=3), Draws())
    assert ink(three).sum() == 3 * ink(one).sum()
    middle = np.flatnonzero(ink(one).any(1)).mean()
    assert {"top": middle < 20, "centre": 40 < middle < 55, "bottom": middle > 75}[place]


def test_random_places_depend_only_on_the_draws() -> None:
    style = replace(BARE, place="random", number=2)
    first, again, other = (write(blank(96, 96), "cat", style, Draws(s)) for s in ("a", "a", "b"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(
    size=st.floats(0.01, 1),
    place=st.sampled_from(PLACES),
    number=st.integers(1, 3),
    font=st.sampled_from(FONT_NAMES),
    height=st.integers(72, 140),
    width=st.integers(54, 140),
    seed=st.integers(0, 9),
)
def test_letters_stay_inside_and_the_original_stays_unchanged(
    size: float, place: str, number: int, font: str, height: int, width: int, seed: int
) -> None:
    style = Lettering(size, place, number, (255, 255, 255), None, font)
    before = blank(height, width)
    try:
        image = write(before, "six", style, Draws(seed))
    except InputError as error:
        assert place == "border" and number == 3 and "do not fit on an image" in str(error)
        return
    assert image.shape == before.shape and (before == 100).all()
    copies = number * (4 if place == "border" else 1)
    scale_squared = ink(image).sum() / FONTS[font].draw_line("SIX").sum()
    if place != "random":  # elsewhere copies do not overlap
        assert scale_squared == copies * round((scale_squared / copies) ** 0.5) ** 2
    assert scale_squared >= 1


def test_along_the_border_all_four_sides_read_the_same() -> None:
    letters = ink(write(blank(64, 64), "seven", replace(BARE, place="border", size=0.11), Draws()))
    word = FONTS["5x7"].draw_line("SEVEN")
    sides = [letters, np.rot90(letters, 2), np.rot90(letters), np.rot90(letters, -1)]  # each side in turn is on top
    upper = [np.argwhere(side[:8]).min(0) for side in sides]
    found = [side[top : top + 7, left : left + 29] for side, (top, left) in zip(sides, upper, strict=True)]
    below = np.rot90(word, 2)  # the only side that is upside down when it is on top
    for read, expected in zip(found, [word, below, word, word], strict=True):
        assert np.array_equal(read, expected)
    assert letters.sum() == 4 * word.sum()


@given(number=st.integers(1, 4), height=st.integers(48, 130), width=st.integers(32, 130), seed=st.integers(0, 99))
def test_scattered_copies_can_all_be_read(number: int, height: int, width: int, seed: int) -> None:
    style = replace(PLAIN, place="scattered", number=number, size=0.2, font="3x5")
    blocks, scale = arrange("SIX", style, height, width, Draws(seed))
    assert len(blocks) == number and scale >= 1
    covered = np.zeros((height, width), int)
    for mask, top, left in blocks:
        rows, columns = mask.shape
        covered[max(0, top - scale) : top + rows + scale, max(0, left - scale) : left + columns + scale] += 1
    assert covered.max() == 1  # not even outlines overlap


def test_scattered_copies_depend_on_the_draws() -> None:
    style = replace(BARE, place="scattered", number=3)
    first, again, other = (write(blank(96, 96), "cat", style, Draws(s)) for s in ("a", "a", "b"))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("outline", [(0, 0, 255), (9, 9, 9)])
def test_without_letters_the_block_of_the_text_is_filled(place: str, outline: tuple[int, int, int]) -> None:
    style = replace(PLAIN, place=place, size=0.11, outline=outline)
    lettered = write(blank(64, 64), "seven", style, Draws(3))
    filled = write(blank(64, 64), "seven", replace(style, colour=None), Draws(3))
    changed = (filled != 100).any(-1)
    assert (filled[changed] == outline).all()
    assert changed[(lettered != 100).any(-1)].all()
    blocks, scale = arrange("SEVEN", style, 64, 64, Draws(3))
    assert scale == 1 and changed.sum() <= sum((m.shape[0] + 2) * (m.shape[1] + 2) for m, _, _ in blocks)
