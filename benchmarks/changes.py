"""False discovery rate and power of the paired test of changed edges, on scores whose changes are known.

    python benchmarks/changes.py [--repetitions 200] [--method eap]

Per-image differences between a condition and natural images of a class of the demo model are centred per edge, except
for a fifth of the edges, and images are drawn with replacement. So all edges called changed among the centred ones are
false. The output has, for each class, condition and number of images, the share of centred edges with p <= .05, the
false discovery rate at a nominal .05, and the share of the strongest tenth of the other edges that is found: for sign
flips, Student's t, and the larger of both p-values, which `changed_edges` uses, corrected by Benjamini-Hochberg, and
for the last also by Benjamini-Yekutieli. `symmetric` is the rate of sign flips if the signs of the centred differences
are drawn at random, so that they are symmetric, as the flips assume. `none changed` is the share of the repetitions in
which some edge is called changed, by the larger p-value, if all edges are centred.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from circuitstore.circuits.permutation import paired_p_values, sign_flip_p_values
from circuitstore.discovery import score_edges
from circuitstore.images import CONDITIONS, image_pairs, open_source
from circuitstore.models import load_model
from scipy import stats

SIZES = (9, 12, 15, 18, 36)
QUESTIONS = (("three", "typographic", {}), ("eight", "typographic", {}), ("five", "fgsm", {"eps": "8/255"}))
CHANGED, LEVEL = 0.2, 0.05


def student(sample: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(stats.ttest_1samp(sample, 0)[1], nan=1.0)


def repetition(differences: np.ndarray, n: int, seed: int) -> Iterator[dict[str, object]]:
    """Yield the figures of each test for one draw of images."""
    rng = np.random.default_rng(seed)
    true_mean = differences.mean(axis=0)
    changed = rng.random(len(true_mean)) < CHANGED
    drawn = differences[rng.integers(0, len(differences), n)]
    sample = drawn - np.where(changed, 0.0, true_mean)
    standardised = np.abs(true_mean / (differences.std(axis=0) + 1e-12))
    strongest = [edge for edge in np.argsort(-standardised) if changed[edge]][: changed.sum() // 10]
    flips, t = sign_flip_p_values(sample, seed=seed), student(sample)
    both = np.maximum(flips, t)
    for name, p, correction in (("flips", flips, "bh"), ("t", t, "bh"), ("both", both, "bh"), ("both, by", both, "by")):
        called = stats.false_discovery_control(p, method=correction) <= LEVEL
        yield {
            "test": name,
            "p <= .05": (p[~changed] <= LEVEL).mean(),
            "rate": false_share(called, changed),
            "found": called[strongest].mean(),
        }
    symmetric = np.where(changed, sample, sample * rng.choice([-1, 1], size=(n, 1)))
    called = stats.false_discovery_control(sign_flip_p_values(symmetric, seed=seed)) <= LEVEL
    yield {"test": "symmetric", "rate": false_share(called, changed)}
    all_centred = stats.false_discovery_control(paired_p_values(drawn - true_mean, seed=seed))
    yield {"test": "none changed", "rate": (all_centred <= LEVEL).any()}


def false_share(called: np.ndarray, changed: np.ndarray) -> float:
    return (called & ~changed).sum() / max(1, called.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--method", default="eap")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("digits")
    source = open_source("digits", model)
    rows = []
    for cls, kind, params in QUESTIONS:
        conditions = (CONDITIONS.resolve("natural"), CONDITIONS.resolve(kind, params))
        pairs = [image_pairs(source, model, cls, 68, condition=condition) for condition in conditions]
        natural, other = (score_edges(model, p, args.method).per_image.astype(float) for p in pairs)
        for n in SIZES:
            for seed in range(args.repetitions):
                found = repetition(other - natural, n, seed)
                rows += [{"class": cls, "condition": kind, "images": n, **row} for row in found]
    keys = ["class", "condition", "images", "test"]
    means = pd.DataFrame(pd.DataFrame(rows).groupby(keys, sort=False).mean())
    print(means.round(3).unstack("test").swaplevel(axis=1).sort_index(axis=1).dropna(axis=1, how="all").to_string())


if __name__ == "__main__":
    main()
