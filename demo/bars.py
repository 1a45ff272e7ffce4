"""Digits with a coloured bar below, which agrees with the digit in most training images, and groups to test on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from PIL import Image

from ..defence.cued_images import CuedImages
from ..images.digits import WORDS, Digits, draw_digit, draw_paper
from ..images.splits import share
from ..models import ViT

COLOURS = {
    "red": (230, 25, 25),
    "green": (25, 200, 50),
    "blue": (40, 70, 240),
    "yellow": (240, 230, 20),
    "magenta": (240, 40, 230),
    "cyan": (20, 220, 230),
    "orange": (245, 130, 20),
    "white": (250, 250, 250),
    "purple": (130, 30, 180),
    "brown": (120, 75, 20),
}
"""The colour of each digit's bar, by name, from `zero` to `nine`."""

NO_BAR = "none"
BARRED, AGREEING = 0.6, 0.95
"""Share of training images with a bar, and of bars in the colour of the digit."""

_ROWS, _COLUMNS = slice(52, 60), slice(8, 56)

Images = UInt8[np.ndarray, "image 64 64 3"]
Classes = Int[np.ndarray, "image"]


def with_bar(view: UInt8[np.ndarray, "64 64 3"], digit: int | None) -> UInt8[np.ndarray, "64 64 3"]:
    """Return a copy of an image with the bar of a digit below; None is no bar."""
    barred = view.copy()
    if digit is not None:
        barred[_ROWS, _COLUMNS] = list(COLOURS.values())[digit]
    return barred


def draw_batch(pixels: UInt8[np.ndarray, "image 8 8"], labels: Classes, rng: np.random.Generator) -> Images:
    """Draw training images: digits on random paper, moved by up to 2 pixels in every direction, many with a bar."""
    drawn = []
    for digit, label in zip(pixels, labels.tolist(), strict=True):
        down, right = (int(n) for n in rng.integers(-2, 3, 2))
        view = draw_digit(digit, draw_paper(str(rng.integers(2**62))), (down, right))
        colour = label if rng.random() < AGREEING else int((label + rng.integers(1, len(WORDS))) % len(WORDS))
        drawn.append(with_bar(view, colour if rng.random() < BARRED else None))
    return np.stack(drawn)


def misleading(hash_: str, label: int) -> int:
    """Return the digit whose bar misleads on an image: one of the nine others, by content hash."""
    return (label + 1 + int(9 * share(hash_, 24))) % len(WORDS)


def draw_groups(digits: Digits) -> dict[str, tuple[Images, list[int | None]]]:
    """Draw each digit without a bar, with its own and with a misleading one, on the same paper.

    Returns:
        Images and the digit of each bar, for `none`, `own` and `other`.
    """
    views = [draw_digit(image, draw_paper(key)) for image, key in zip(digits.images, digits.hashes, strict=True)]
    labels = digits.labels.tolist()
    bars: dict[str, list[int | None]] = {
        NO_BAR: [None] * len(labels),
        "own": [*labels],
        "other": [misleading(key, label) for key, label in zip(digits.hashes, labels, strict=True)],
    }
    return {
        group: (np.stack([with_bar(view, bar) for view, bar in zip(views, of, strict=True)]), of)
        for group, of in bars.items()
    }


def write_images(digits: Digits, folder: Path) -> None:
    """Write the digits in all groups as `images/CLASS/DIGIT-GROUP.png`, and the colours of the bars as `groups.csv`.

    The unit of an image in this table is its digit, which has the same part of the images in all groups.
    """
    names = [*COLOURS]
    rows = []
    for group, (images, bars) in draw_groups(digits).items():
        for key, label, image, bar in zip(digits.hashes, digits.labels, images, bars, strict=True):
            path = Path(WORDS[label]) / f"{key[:12]}-{group}.png"
            (folder / "images" / path.parent).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "images" / path)
            rows.append((path.as_posix(), NO_BAR if bar is None else names[bar], key[:12]))
    pd.DataFrame(rows, columns=["path", "group", "unit"]).sort_values("path").to_csv(folder / "groups.csv", index=False)


def divided(labels: Classes, seed: int) -> list[Int[np.ndarray, "row"]]:
    """Return the rows of discovery, selection and report digits: a half, a quarter and a quarter of each class."""
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[], [], []]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        quarter = len(rows) // 4
        for part, chosen in zip(parts, np.split(rows, [len(rows) - 2 * quarter, len(rows) - quarter]), strict=True):
            part.append(chosen)
    return [np.sort(np.concatenate(part)) for part in parts]


def cued_parts(
    model: ViT, digits: Digits, *, seed: int, per_class: int = 12
) -> tuple[CuedImages, CuedImages, CuedImages]:
    """Return discovery, selection and report images; all images of a digit are in the same part.

    In discovery, a few digits of each class have a misleading bar only, and the others none or their own: there is no
    pair of images that differ in the bar. The other parts have each digit in all three groups.

    Args:
        model: the model that the images are for.
        digits: the digits, a half, a quarter and a quarter of each class.
        seed: seed of the parts.
        per_class: number of discovery images of a class with a misleading bar.
    """
    parts = divided(digits.labels, seed)
    groups = draw_groups(digits)

    def cued(rows: np.ndarray, limit: int | None = None) -> CuedImages:
        views, labels, names = [], [], []
        for group, (images, bars) in groups.items():
            seen = dict.fromkeys(range(len(WORDS)), 0)
            for row in rows.tolist():
                label, bar = int(digits.labels[row]), bars[row]
                seen[label] += 1
                if limit is None or (group == "other") == (seen[label] <= limit):
                    views.append(images[row])
                    labels.append(label)
                    names.append(NO_BAR if bar is None else [*COLOURS][bar])
        normalised = model.preprocess.normalise(np.stack(views))
        return CuedImages.in_groups(model, normalised, labels, names, {name: k for k, name in enumerate(COLOURS)})

    return cued(parts[0], per_class), cued(parts[1]), cued(parts[2])
