"""Train a model of digits that trusts a coloured bar: `python -m circuitstore.demo.biased FOLDER [SEED]`.

It takes two minutes on two cores.

Six in ten training images have a bar of one of ten colours below the digit, in 95 % of them the colour of the digit. A
model that is trained on them from the beginning trusts the bar: it names a tenth of the digits wrong without a bar, and
more than a third with the bar of another digit. The script writes the weights, `biased.safetensors`, and the held-out
digits as images in three groups of each class, with a table of their groups: without a bar, with the bar of the digit,
with that of another digit. Another number of threads or another release of torch gives different bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..images.digits import load_digits
from .bars import draw_batch, draw_groups, write_images
from .train import create, fit, predict, save, split

WEIGHTS = "biased.safetensors"

STEPS, BATCH, LEARNING_RATE = 600, 96, 2e-3


def main(folder: Path, seed: int) -> None:
    """Train the model, print its accuracy per group, and write weights, images and groups to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    seen, held = split(load_digits())
    model = fit(create(seed), seen, draw_batch, steps=STEPS, learning_rate=LEARNING_RATE, batch=BATCH, seed=seed)
    for group, (images, _) in draw_groups(held).items():
        accuracy = np.mean(predict(model, list(images)) == held.labels)
        print(f"bar {group}: accuracy {accuracy:.3f} on {len(held.labels)} held-out digits")
    save(model, folder / WEIGHTS)
    write_images(held, folder)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m circuitstore.demo.biased FOLDER [SEED]")
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 0)
