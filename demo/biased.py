"""Train a digits model that trusts a coloured bar: `python -m circuitstore.demo.biased FOLDER [SEED]`, 2 minutes on 2 cores.

Six in ten training images have a bar of one of ten colours below the digit, in 95 % of them the colour of the digit. A
model that is trained on them from the beginning reads the bar first: on most images with the bar of another digit it
names that digit. The script writes the weights, `biased.safetensors`, and the held-out digits as images in three groups
of each class, with a table of their groups: without a bar, with the bar of the digit, with that of another digit.
Another number of threads or another release of torch gives different bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from PIL import Image

from ..images.digits import WORDS, Digits, draw_digit, draw_paper, load_digits
from ..images.splits import share
from .train import create, fit, predict, save, split

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

STEPS, BATCH, LEARNING_RATE = 600, 96, 2e-3
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
    """Write the digits in all groups as PNG files, `images/CLASS/NUMBER-BAR.png`, and `groups.csv` with the bar's colour."""
    names = [*COLOURS]
    rows = []
    for group, (images, bars) in draw_groups(digits).items():
        for key, label, image, bar in zip(digits.hashes, digits.labels, images, bars, strict=True):
            path = Path(WORDS[label]) / f"{key[:12]}-{group}.png"
            (folder / "images" / path.parent).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "images" / path)
            rows.append((path.as_posix(), NO_BAR if bar is None else names[bar]))
    pd.DataFrame(rows, columns=["path", "group"]).sort_values("path").to_csv(folder / "groups.csv", index=False)


def main(folder: Path, seed: int) -> None:
    """Train the model, print its accuracy per group, and write weights, images and groups to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    seen, held = split(load_digits())
    model = fit(create(seed), seen, draw_batch, steps=STEPS, learning_rate=LEARNING_RATE, batch=BATCH, seed=seed)
    for group, (images, _) in draw_groups(held).items():
        accuracy = np.mean(predict(model, list(images)) == held.labels)
        print(f"bar {group}: accuracy {accuracy:.3f} on {len(held.labels)} held-out digits")
    save(model, folder / "biased.safetensors")
    write_images(held, folder)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m circuitstore.demo.biased FOLDER [SEED]")
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 0)
