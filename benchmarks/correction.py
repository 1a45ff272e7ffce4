"""What corrections of a planted bias, and of a look-alike confusion, do on report images.

    python benchmarks/correction.py bias [--models 0 1] [--seeds 3] [--sizes 24 48 96] [--max-loss 0.01] [--two-groups]
    python benchmarks/correction.py confusion [--seeds 3] [--angle 25]

`bias`: models that trust a coloured bar (`circuitstore.demo.biased`, trained into --folder if they are not there),
corrected from 12 images of each class with a misleading bar. With --two-groups no image is without a bar in discovery
and selection. `confusion`: the demo model on digits that are turned by an angle, and the pair of classes that it
confuses most. Each seed divides the held-out digits anew into discovery, selection and report digits. Figures are per
cent: the
mean over seeds, and the lowest and highest.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import circuitstore as cs
import numpy as np
import torch
from circuitstore.defence import Correction, LabelledImages, Search, correct_confusion, correct_groups
from circuitstore.demo import bars, biased, train
from circuitstore.errors import CircuitStoreWarning
from circuitstore.images.digits import Digits, draw_digit, draw_paper, load_digits
from circuitstore.models import ViT
from PIL import Image

Figures = dict[str, dict[str, list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bias", "confusion"))
    parser.add_argument("--models", type=int, nargs="+", default=[0, 1], help="seeds of the models' training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--two-groups", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 48, 96], help="numbers of edges to choose from")
    parser.add_argument("--max-loss", type=float, default=Search().max_loss, help="on selection images without a bar")
    parser.add_argument("--angle", type=float, default=25.0)
    parser.add_argument("--folder", type=Path, default=Path("build/biased"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)  # about residuals
    if args.what == "bias":
        for number in args.models:
            search = Search(sizes=tuple(args.sizes), max_loss=args.max_loss)
            show(f"model {number}", bias(biased_model(args.folder, number), args.seeds, search, args.two_groups))
    else:
        show(f"turned by {args.angle:g}°", confusion(cs.load_model("digits"), args.seeds, args.angle))


def biased_model(folder: Path, number: int) -> ViT:
    """Return the model of this number; train it first if it is not in the folder."""
    place = folder / str(number)
    if not (place / biased.WEIGHTS).exists():
        biased.main(place, number)
    return cs.load_model("digits", checkpoint=place / biased.WEIGHTS)


def bias(model: ViT, seeds: int, search: Search, two_groups: bool) -> Iterator[Correction]:
    """Yield a correction per seed."""
    _, held = train.split(load_digits())
    for seed in range(seeds):
        discovery, selection, report = bars.cued_parts(model, held, seed=seed)
        if two_groups:
            discovery, selection = (of[np.flatnonzero(of.relations != "no cue")] for of in (discovery, selection))
        yield correct_groups(model, discovery, selection, report, search=search, seed=seed)


def confusion(model: ViT, seeds: int, angle: float) -> Iterator[Correction]:
    """Yield a correction per seed; pairs of classes differ between seeds."""
    _, held = train.split(load_digits())
    for seed in range(seeds):
        found = correct_confusion(
            model, *turned(model, held, seed, angle), search=Search(strengths=(0.5, 1.0, 1.5)), seed=seed
        )
        yield found


def turned(model: ViT, digits: Digits, seed: int, angle: float) -> list[LabelledImages]:
    """Return discovery, selection and report images of turned digits."""
    paper = [draw_paper(key) for key in digits.hashes]
    images = []
    for pixels, ground in zip(digits.images, paper, strict=True):
        ink = draw_digit(pixels, np.zeros_like(ground))
        moved = np.asarray(Image.fromarray(ink).rotate(angle, Image.Resampling.BILINEAR))
        images.append(ground[..., None] + moved)
    views = model.preprocess.normalise(np.stack(images))
    parts = bars.divided(digits.labels, seed)
    return [LabelledImages.of(model, views[rows], digits.labels[rows]) for rows in parts]


def show(title: str, corrections: Iterator[Correction]) -> None:
    """Print the mean of each figure over the corrections, with the lowest and the highest."""
    start = time.process_time()
    figures: Figures = defaultdict(lambda: defaultdict(list))
    count = 0
    for count, found in enumerate(corrections, 1):
        chosen = [f"{row.method}: {row.edit.text}" for row in found.rows if row.edit is not None]
        print(f"{title}, seed {count - 1}: {found!r}\n{found}\n" + "\n".join(chosen), flush=True)
        for row in found.rows:
            for group, of in row.report.items():
                figures[row.method][group].append(100 * of.value)
    groups = list(figures["none"])
    print(f"{title}: {count} seeds, {(time.process_time() - start) / max(1, count):.0f} CPU seconds each")
    print(f"| method | {' | '.join(groups)} |\n|---{'|---' * len(groups)}|")
    for method, of in figures.items():
        cells = [f"{np.mean(of[g]):.1f} ({min(of[g]):.1f} to {max(of[g]):.1f})" for g in groups]
        print(f"| {method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
