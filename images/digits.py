"""The bundled handwritten digits: loading, drawing, and those that the demo model was not trained on.

8 × 8 pixels with 17 grey levels, from the UCI data set "Optical Recognition of Handwritten Digits"
(`demo/ATTRIBUTION.md`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from safetensors.numpy import load

from ..circuits import ClassInfo
from ..errors import InputError
from ..models import ViT
from .labels import Labels
from .source import ImageRef, ImageSource, SourceClass
from .splits import share

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
IMAGE_SIZE = 64
HELD_OUT_SHARE = 0.4

_ENLARGED, _EDGE = 4, 16  # 32 × 32 pixels, centred; 16 pixels at every edge are left for words
_INK = 170  # on the lightest paper, 77, the darkest ink is 247


@dataclass(frozen=True)
class Digits:
    """The data set, in its original order.

    Attributes:
        images: grey levels 0 (paper) to 16 (ink).
        labels: the digit shown.
        hashes: SHA-256 (hex) of each image's 64 bytes.
    """

    images: UInt8[np.ndarray, "image 8 8"]
    labels: Int[np.ndarray, "image"]
    hashes: tuple[str, ...]


@cache
def load_digits() -> Digits:
    """Load the 1,797 bundled digits; no two of them are equal."""
    data = load((files("circuitstore") / "demo" / "digits.safetensors").read_bytes())
    images = data["images"]
    return Digits(images, data["labels"].astype(int), tuple(hashlib.sha256(i.tobytes()).hexdigest() for i in images))


def held_out(hash_: str) -> bool:
    """Return whether a digit is among the 40 %, by content hash, that the demo model was not trained on.

    This uses other digits of the hash than sorting images does, so that no split is favoured.
    """
    return share(hash_, 16) < HELD_OUT_SHARE


def draw_paper(seed: str) -> UInt8[np.ndarray, "64 64"]:
    """Draw grey paper: a level of 24 to 55, a slope of at most 8 levels from the middle to each edge, noise of ± 6.

    Args:
        seed: text that all random choices depend on, such as a content hash.
    """
    drawn = np.frombuffer(hashlib.shake_256(seed.encode()).digest(3 + IMAGE_SIZE**2), np.uint8).astype(int)
    level, down, right = 24 + drawn[0] % 32, drawn[1] % 17 - 8, drawn[2] % 17 - 8
    rows, columns = 2 * np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] - (IMAGE_SIZE - 1)
    slope = (down * rows + right * columns) // IMAGE_SIZE
    noise = drawn[3:].reshape(IMAGE_SIZE, IMAGE_SIZE) % 13 - 6
    return (level + slope + noise).astype(np.uint8)


def draw_digit(
    pixels: UInt8[np.ndarray, "8 8"],
    paper: UInt8[np.ndarray, "64 64"],
    shift: tuple[int, int] = (0, 0),
    brightness: float = 1.0,
) -> UInt8[np.ndarray, "64 64 3"]:
    """Draw a digit, enlarged fourfold, in light ink in the middle of the paper.

    Args:
        pixels: grey levels 0 to 16.
        paper: the background, as drawn by `draw_paper`.
        shift: pixels down and to the right, at most 16 in every direction.
        brightness: factor on the ink.
    """
    ink = np.floor(pixels * (brightness * _INK / 16) + 0.5).astype(np.uint8)
    top, left, side = _EDGE + shift[0], _EDGE + shift[1], 8 * _ENLARGED
    canvas = paper.copy()
    canvas[top : top + side, left : left + side] += ink.repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    return canvas[..., None].repeat(3, -1)


class DigitsSource(ImageSource):
    """The held-out digits, classes `zero` to `nine`.

    Raises:
        InputError: the model does not have ten logits.
    """

    def __init__(self, model: ViT, name: str = "digits") -> None:
        if model.n_classes != len(WORDS):
            raise InputError(f"digits: ten classes need a model with 10 logits, this one has {model.n_classes}")
        labels = Labels.of_model(model.labels if model.labels is not None else WORDS, model.n_classes)
        data = load_digits()
        self._row = {h: i for i, h in enumerate(data.hashes) if held_out(h)}
        classes = []
        for digit, word in enumerate(WORDS):
            index = next((i for name in (word, str(digit)) if (i := labels.find(name)) is not None), None)
            assert index is not None  # a digit is always a class index
            refs = [ImageRef(h, f"digit {i}") for h, i in self._row.items() if data.labels[i] == digit]
            info = ClassInfo(name, word, index)
            classes.append(SourceClass(info, word, tuple(sorted(refs, key=lambda r: r.hash))))
        super().__init__(name, classes, labels, model.preprocess)

    def image(self, ref: ImageRef) -> Image.Image:
        return Image.fromarray(draw_digit(load_digits().images[self._row[ref.hash]], draw_paper(ref.hash)))
