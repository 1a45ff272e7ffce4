"""Detectors on the demo model: the figures of docs/detection.md.

Every detector is fitted to discovery images. AUROC in per cent: the chance that an unusual image has a higher score
than a usual one. Usual images are unattacked report images that the model classifies correctly; attacked images are
those report images that an attack turns; OOD images are made here, from the same pixels or from none.

    python benchmarks/detection.py            attacks, OOD images, benign twins, shares of edges, images per class, and
                                              what is compared on selection images
    python benchmarks/detection.py --only attacks
    python benchmarks/detection.py --cost     CPU time per image of each detector, in milliseconds
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import circuitstore as cs
import numpy as np
import pandas as pd
import torch
from circuitstore.circuits import Circuit, FitUse
from circuitstore.defence import DETECTORS, FittedDetector, fit_detector
from circuitstore.defence.detectors.features import edges
from circuitstore.discovery import score_edges
from circuitstore.errors import CircuitStoreWarning
from circuitstore.evaluation import ImagePairs
from circuitstore.images import CONDITIONS, Predictions, open_source
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score
from torch import Tensor

CONDITION: Mapping[str, tuple[str, dict[str, Any]]] = {
    "FGSM": ("fgsm", {"eps": "8/255"}),
    "PGD": ("pgd", {"eps": "6/255", "steps": 20}),
    "one word": ("typographic", {"text": "other class"}),
    "border": ("typographic", {"text": "other class", "place": "border"}),
    "small": ("typographic", {"text": "other class", "place": "scattered", "number": 3, "size": 0.1}),
    "random signs": ("random-signs", {"eps": "8/255"}),
    "right word": ("typographic", {"text": "other class", "control": "own class"}),
    "nonsense": ("typographic", {"text": "other class", "control": "nonsense"}),
}
ATTACKS = ("FGSM", "PGD", "one word", "border", "small")
BENIGN = ("random signs", "right word", "nonsense")
TWINS = (("random signs", "FGSM"), ("random signs", "PGD"), ("right word", "one word"), ("nonsense", "one word"))

CIRCUIT_EDGES = 24
"""Number of edges of the circuit of each class."""


class Row(NamedTuple):
    """A detector of the tables; with `circuits`, it sees only the edges of the classes' circuits."""

    use: FitUse
    circuits: bool = False


def edge_detector(key: str, **params: Any) -> FitUse:
    return DETECTORS.resolve(key, params)


ROWS: Mapping[str, Row] = {
    **{key: Row(DETECTORS.resolve(key)) for key in DETECTORS},
    "edges-mahalanobis, circuits": Row(edge_detector("edges-mahalanobis"), circuits=True),
    "edges-deviation, circuits": Row(edge_detector("edges-deviation"), circuits=True),
    "edges-mahalanobis, eap": Row(edge_detector("edges-mahalanobis", method="eap")),
    "edges-mahalanobis, no root": Row(edge_detector("edges-mahalanobis", transform="none")),
    "edges-deviation, no root": Row(edge_detector("edges-deviation", transform="none")),
}
COMPARED: Mapping[str, Row] = {
    f"{key}, {transform}, {keep:.0%}": Row(edge_detector(key, transform=transform, keep=keep))
    for key in ("edges-mahalanobis", "edges-deviation", "edges-neighbours")
    for transform in ("root", "none")
    for keep in (1.0, 0.2)
}
"""What is compared on selection images: transform and share of edges of the detectors of edges."""


class Digits:
    """The demo model and images of the digits, usual and unusual."""

    def __init__(self) -> None:
        self.model = cs.load_model("digits")
        self.source = open_source("digits", self.model)
        self.predictions = Predictions(self.source, self.model)

    def split(self, split: str, condition: str | None = None) -> tuple[Tensor, np.ndarray]:
        """Return the images of a split under a condition, and their classes."""
        use = None if condition is None else CONDITIONS.resolve(*CONDITION[condition])
        views, labels = [], []
        for cls in self.source.classes:
            refs = [ref for ref in self.source.candidates(cls) if self.source.split_of(ref) == split]
            views.append(self.predictions.views(cls, refs, use))
            labels += [cls.class_index] * len(refs)
        return self.model.preprocess.normalise(np.concatenate(views)), np.array(labels)

    def attacked(self, split: str, names: Sequence[str] = (*ATTACKS, *BENIGN)) -> dict[str, Tensor]:
        """Images of a split that the model classifies correctly, by name: unattacked, attacked with success, benign."""
        natural, labels = self.split(split)
        usual = self.model.logits(natural).argmax(dim=1).numpy() == labels
        found = {"natural": natural[torch.from_numpy(usual)]}
        for name in names:
            images, _ = self.split(split, name)
            turned = self.model.logits(images).argmax(dim=1).numpy() != labels
            kept = usual & turned if name in ATTACKS else usual
            found[name] = images[torch.from_numpy(kept)]
        return found

    @cached_property
    def sets(self) -> dict[str, Tensor]:
        """Report images by the name of their set, and OOD images."""
        found = self.attacked("report")
        views = self.model.preprocess.views(found["natural"])
        return found | {name: self.model.preprocess.normalise(v) for name, v in unusual(views).items()}

    @cached_property
    def circuits(self) -> list[Circuit]:
        """The circuit of each class, found on discovery images with their mean as corruption."""
        images, labels = self.split("discovery")
        mean, found = images.mean(dim=0), []
        for label in np.unique(labels):
            own = images[torch.from_numpy(labels == label)]
            pairs = ImagePairs.of(self.model, own, mean.expand_as(own), np.full(len(own), label))
            found.append(score_edges(self.model, pairs, "eap-ig", form="split").greedy(CIRCUIT_EDGES))
        return found

    def fitted(self, row: Row, per_class: int | None = None) -> FittedDetector:
        images, labels = self.split("discovery")
        if per_class is not None:
            first = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)])
            images, labels = images[torch.from_numpy(first)], labels[first]
        return fit_detector(self.model, images, labels, row.use, circuits=self.circuits if row.circuits else ())

    def scored(self, fitted: FittedDetector, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        return {name: fitted.scores(self.model, self.sets[name]) for name in ("natural", *names)}


def unusual(views: np.ndarray) -> dict[str, np.ndarray]:
    """Return OOD images of the size of these views, by name; made without any file."""
    rng, (count, height, width, _) = np.random.default_rng(0), views.shape
    blocks = views.reshape(count, 4, height // 4, 4, width // 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(count, 16, -1)
    shuffled = np.stack([of[rng.permutation(16)] for of in blocks])
    shuffled = shuffled.reshape(count, 4, 4, height // 4, width // 4, 3).transpose(0, 1, 3, 2, 4, 5)
    smooth = rng.integers(0, 256, (count, 6, 6, 3), np.uint8)
    photos = [np.array(Image.fromarray(v).resize((width, height), Image.Resampling.BICUBIC)) for v in smooth]
    return {
        "letters": np.stack([letter("ABCDEFGHKMNPRTUVWXYZ"[i % 20], (height, width), rng) for i in range(count)]),
        "photo-like": np.stack(photos),
        "noise": rng.integers(0, 256, views.shape, np.uint8),
        "inverted": 255 - views,
        "shuffled": shuffled.reshape(views.shape),
        "rotated 90°": np.ascontiguousarray(np.rot90(views, axes=(1, 2))),
    }


OOD = ("letters", "photo-like", "noise", "inverted", "shuffled", "rotated 90°")


def letter(text: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a letter at the resolution of the digits, 8 × 8, and enlarge it as they are."""
    image = Image.new("L", (32, 32))
    ImageDraw.Draw(image).text((16, 16), text, 255, ImageFont.load_default(30), anchor="mm")
    image = image.rotate(float(rng.uniform(-10, 10))).resize((8, 8), Image.Resampling.BOX)
    return np.array(image.resize(size[::-1], Image.Resampling.BICUBIC).convert("RGB"))


def auroc(usual: np.ndarray, other: np.ndarray) -> float:
    largest = max(np.max(s[np.isfinite(s)], initial=0) for s in (usual, other))
    scores = np.nan_to_num(np.concatenate([usual, other]), posinf=largest + 1)
    return 100 * float(roc_auc_score(np.repeat([0, 1], [len(usual), len(other)]), scores))


def interval(usual: np.ndarray, other: np.ndarray, draws: int = 500) -> str:
    """Return the AUROC with its 95 % bootstrap interval over images."""
    rng = np.random.default_rng(0)
    drawn = [auroc(rng.choice(usual, len(usual)), rng.choice(other, len(other))) for _ in range(draws)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{auroc(usual, other):.1f} [{low:.1f}, {high:.1f}]"


def attacks(digits: Digits) -> Iterator[dict[str, Any]]:
    for name, row in ROWS.items():
        scores = digits.scored(digits.fitted(row), ATTACKS)
        yield {"detector": name} | {of: interval(scores["natural"], scores[of]) for of in ATTACKS}


def ood(digits: Digits) -> Iterator[dict[str, Any]]:
    for name, row in ROWS.items():
        scores = digits.scored(digits.fitted(row), OOD)
        values = {of: auroc(scores["natural"], scores[of]) for of in OOD}
        yield {"detector": name} | values | {"mean": np.mean(list(values.values()))}


def twins(digits: Digits) -> Iterator[dict[str, Any]]:
    """Yield how well a detector tells an attack from its benign twin, and all attacks from all that is benign."""
    for name, row in ROWS.items():
        scores = digits.scored(digits.fitted(row), (*ATTACKS, *BENIGN))
        benign = np.concatenate([scores[of] for of in ("natural", *BENIGN)])
        attacked = np.concatenate([scores[of] for of in ("FGSM", "PGD", "one word")])
        values = {f"{twin} / {of}": auroc(scores[twin], scores[of]) for twin, of in TWINS}
        yield {"detector": name} | values | {"benign / attacks": interval(benign, attacked)}


def shares(digits: Digits) -> Iterator[dict[str, Any]]:
    for keep in (1.0, 0.5, 0.2, 0.1, 0.05):
        fitted = digits.fitted(Row(edge_detector("edges-mahalanobis", keep=keep)))
        scores = digits.scored(fitted, (*ATTACKS, *OOD))
        values = {of: auroc(scores["natural"], scores[of]) for of in (*ATTACKS, *OOD)}
        row = {of: values[of] for of in ATTACKS} | {"mean OOD": np.mean([values[of] for of in OOD])}
        yield {"share of edges": f"{keep:.0%}", "edges": fitted.facts["features"]} | row


def sizes(digits: Digits) -> Iterator[dict[str, Any]]:
    names = ("edges-deviation", "edges-mahalanobis", "penultimate-mahalanobis", "layers-mahalanobis")
    for name in names:
        row: dict[str, Any] = {"detector": name}
        for per_class in (4, 12, 34):
            scores = digits.scored(digits.fitted(ROWS[name], per_class), (*ATTACKS, "letters", "shuffled"))
            row[f"{per_class} per class"] = np.mean([auroc(scores["natural"], s) for s in list(scores.values())[1:]])
        yield row


def choice(digits: Digits) -> Iterator[dict[str, Any]]:
    """Yield how well variants of the detectors of edges find attacked selection images, and attacked report images."""
    selection = digits.attacked("selection", ATTACKS)
    for name, row in COMPARED.items():
        fitted, values = digits.fitted(row), {}
        for split, sets in (("selection", selection), ("report", digits.sets)):
            scores = {of: fitted.scores(digits.model, sets[of]) for of in ("natural", *ATTACKS)}
            found = {f"{split}: {of}": auroc(scores["natural"], scores[of]) for of in ATTACKS}
            values |= found | {f"{split}: mean": np.mean(list(found.values()))}
        yield {"detector": name} | values


def costs(digits: Digits) -> Iterator[dict[str, Any]]:
    images = digits.sets["natural"][:64]
    for name, row in ROWS.items():
        fitted, passes = digits.fitted(row), DETECTORS[row.use.kind].passes(**dict(row.use.params))
        fitted.scores(digits.model, images)
        took = []
        for _ in range(3):
            began = time.process_time()
            fitted.scores(digits.model, images)
            took.append(time.process_time() - began)
        yield {"detector": name, "ms per image": 1000 * min(took) / len(images), "passes": "{} + {}".format(*passes)}


TABLES: Mapping[str, Callable[[Digits], Iterator[dict[str, Any]]]] = {
    "attacks": attacks,
    "ood": ood,
    "twins": twins,
    "shares": shares,
    "sizes": sizes,
    "choice": choice,
}


def remember_scores() -> None:
    """Score the edges of each image once: all detectors of edges read the same scores."""
    score, known = edges.score_edges, {}

    def remembered(model, pairs, use, *, form, execution):
        key = pairs.digest, use.text, form
        if key not in known:
            known[key] = score(model, pairs, use, form=form, execution=execution)
        return known[key]

    edges.score_edges = remembered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(TABLES), help="only this table")
    parser.add_argument("--cost", action="store_true", help="only the cost")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)
    digits = Digits()
    if not args.cost:
        remember_scores()
    counts = ", ".join(f"{name} {len(images)}" for name, images in digits.sets.items())
    print(f"images: {counts}", flush=True)
    tables = {"cost": costs} if args.cost else {n: t for n, t in TABLES.items() if args.only in (None, n)}
    for name, table in tables.items():
        rows = []
        for row in table(digits):
            rows.append(row)
            print(".", end="", flush=True)
        print(f"\n\n{name}\n{pd.DataFrame(rows).to_string(index=False, float_format='{:.1f}'.format)}", flush=True)


if __name__ == "__main__":
    main()
