"""Training images of the demo model: digits on grey paper, many with a word, in all places and sizes that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt8

from ..images.digits import WORDS, draw_digit, draw_paper
from ..images.lettering import Lettering
from ..images.seeds import Draws
from ..images.writing import PLAIN, write

DIMMED_TO = 0.1

Image = UInt8[np.ndarray, "64 64 3"]
Style = Callable[[np.random.Generator], Lettering]


def below(rng: np.random.Generator) -> Lettering:
    """Return one word below the digit, in letters of 7 or 14 pixels."""
    return replace(PLAIN, size=float(rng.choice([0.11, 0.22])))


def scattered(rng: np.random.Generator) -> Lettering:
    """Return one to six small words at random places."""
    return replace(PLAIN, place="scattered", number=int(rng.integers(1, 7)))


def border(rng: np.random.Generator) -> Lettering:
    """Return the word along the border."""
    return replace(PLAIN, place="border")


STYLES: tuple[Style, ...] = (below, scattered, border)


Kind = Literal["own", "other", "nonsense", "none"]


@dataclass(frozen=True)
class Mix:
    """Shares of training images that bear a word.

    Attributes:
        own: share with the word of the digit.
        other: share with the word of a random digit.
        nonsense: share with random letters, on the digit of the label.
        dimmed: share of the images with the word of the digit on which the digit is dimmed to a tenth.
        replaced: share of the images with the word of the digit on which another digit is drawn; the label is the word.
        styles: how words are written, all equally often.
    """

    own: float
    other: float = 0.0
    nonsense: float = 0.0
    dimmed: float = 0.0
    replaced: float = 0.0
    styles: tuple[Style, ...] = STYLES

    def draw(self, rng: np.random.Generator) -> Kind:
        """Draw which word an image bears."""
        drawn = rng.random()
        if drawn < self.own:
            return "own"
        if drawn < self.own + self.other:
            return "other"
        return "nonsense" if drawn < self.own + self.other + self.nonsense else "none"


def draw_batch(
    pixels: UInt8[np.ndarray, "image 8 8"], labels: Int[np.ndarray, "image"], mix: Mix, rng: np.random.Generator
) -> UInt8[np.ndarray, "image 64 64 3"]:
    """Draw digits on random paper, moved by up to 2 pixels in every direction, with words as the mix says."""
    digits = zip(pixels, np.roll(pixels, 1, 0), labels, strict=True)
    return np.stack([draw_image(digit, other, label, mix, rng) for digit, other, label in digits])


def draw_image(
    pixels: UInt8[np.ndarray, "8 8"],
    other: UInt8[np.ndarray, "8 8"],
    label: int,
    mix: Mix,
    rng: np.random.Generator,
) -> Image:
    """Draw one training image; `other` is the digit that replaces the image's own."""
    kind = mix.draw(rng)
    drawn = rng.random() if kind == "own" else 1.0
    dimmed, replaced = drawn < mix.dimmed, mix.dimmed <= drawn < mix.dimmed + mix.replaced
    down, right = (int(n) for n in rng.integers(-2, 3, 2))
    paper = draw_paper(str(rng.integers(2**62)))
    image = draw_digit(other if replaced else pixels, paper, (down, right), DIMMED_TO if dimmed else 1.0)
    word = draw_word(kind, label, rng)
    if word is None:
        return image
    style = mix.styles[rng.integers(len(mix.styles))](rng)
    return write(image, word, style, Draws(int(rng.integers(2**32))))


def draw_word(kind: Kind, label: int, rng: np.random.Generator) -> str | None:
    """Draw the word of an image; None for no word."""
    match kind:
        case "own":
            return WORDS[label]
        case "other":
            return WORDS[rng.integers(len(WORDS))]
        case "nonsense":
            return nonsense(rng)
        case "none":
            return None


def nonsense(rng: np.random.Generator) -> str:
    """Return three to five random letters that are no digit's word."""
    while (word := "".join(rng.choice(list(ascii_lowercase), rng.integers(3, 6)))) in WORDS:
        pass
    return word
