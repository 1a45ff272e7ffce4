"""Training images of the demo model: shares of the mix, words, and styles."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from circuitstore.demo import training_images
from circuitstore.demo.training_images import STYLES, Mix, Style, draw_batch
from circuitstore.images.digits import WORDS
from circuitstore.images.lettering import Lettering
from circuitstore.images.seeds import Draws
from circuitstore.images.writing import write


def ink(images: np.ndarray) -> np.ndarray:
    return (images == 255).all(-1)


def test_shares_are_those_of_the_mix() -> None:
    """Within five standard deviations; paper with undimmed ink has levels from 172 to 247."""
    n = 1000
    mix = Mix(own=0.5, other=0.1, nonsense=0.2, dimmed=0.4)
    images = draw_batch(np.full((n, 8, 8), 16, np.uint8), np.arange(n) % 10, mix, np.random.default_rng(0))
    with_word = ink(images).any((1, 2))
    dimmed = np.array([m[m < 255].max() < 100 for m in images[:, 20:44, 20:44, 0]])
    for found, share, among in ((with_word, 0.8, n), (dimmed[with_word], 0.5 * 0.4 / 0.8, with_word.sum())):
        assert abs(found.mean() - share) < 5 * (share * (1 - share) / among) ** 0.5
    assert not dimmed[~with_word].any()


@pytest.mark.parametrize("mix", [Mix(own=1), Mix(own=0, other=1), Mix(own=0, nonsense=1), Mix(own=0, dimmed=1)])
def test_words_are_those_of_the_mix(mix: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def record(image: np.ndarray, word: str, style: Lettering, draws: Draws) -> np.ndarray:
        written.append(word)
        return write(image, word, style, draws)

    monkeypatch.setattr(training_images, "write", record)
    images = draw_batch(np.zeros((100, 8, 8), np.uint8), np.full(100, 7), mix, np.random.default_rng(0))
    assert len(written) == 100 * (mix.own + mix.other + mix.nonsense) == ink(images).any((1, 2)).sum()
    if mix.own:
        assert set(written) == {"seven"}
    elif mix.other:
        assert set(written) == set(WORDS)
    elif mix.nonsense:
        assert not set(written) & set(WORDS) and len(set(written)) > 0.9 * len(written)


@pytest.mark.parametrize("replaced", [0.0, 0.5, 1.0])
def test_a_replaced_digit_is_that_of_the_image_before(replaced: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every digit of the batch has its own level of ink."""
    monkeypatch.setattr(training_images, "write", lambda image, *_: image)
    own = np.arange(1, 17)
    pixels = np.broadcast_to(own.astype(np.uint8)[:, None, None], (16, 8, 8))
    mix = Mix(own=1, replaced=replaced)
    images = draw_batch(pixels, np.zeros(16, int), mix, np.random.default_rng(0))[..., 0].astype(float)
    paper = np.delete(images, np.s_[12:52], 1).mean((1, 2))
    drawn = np.rint((images[:, 20:44, 20:44].mean((1, 2)) - paper) * 16 / 170)
    assert ((drawn == own) | (drawn == np.roll(own, 1))).all()
    share = (drawn == own).mean()
    assert 0.1 < share < 0.9 if replaced == 0.5 else share == 1 - replaced


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_every_word_fits_in_every_style(style: Style) -> None:
    """All letters of all copies are drawn, so their number of pixels is a multiple of that of one copy."""
    grey = np.full((64, 64, 3), 100, np.uint8)
    rng, copies = np.random.default_rng(0), Counter()
    for word in WORDS:
        one = ink(write(grey, word, training_images.PLAIN, Draws())).sum()
        for seed in range(20):
            number, rest = divmod(ink(write(grey, word, style(rng), Draws(seed))).sum(), one)
            copies[int(number)] += 1
            assert rest == 0
    assert sorted(copies) == {"below": [1, 4], "scattered": [1, 2, 3, 4, 5, 6], "border": [4]}[style.__name__]


def test_images_are_seeded() -> None:
    pixels, labels = np.full((20, 8, 8), 9, np.uint8), np.arange(20) % 10
    mix = Mix(own=0.5, other=0.1, nonsense=0.2, dimmed=0.3, replaced=0.5)
    first, again, other = (draw_batch(pixels, labels, mix, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
