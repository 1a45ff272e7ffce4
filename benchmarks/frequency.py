"""How well bootstrap frequency and certified edges of a sample of images predict the circuit of another sample.

    python benchmarks/frequency.py [--edges 24] [--draws 10] [--method eap-ig]

For every class of the demo model and every draw, n images give the frequency of each edge and its verdict, and n other
images give a circuit (the best edges). The output has, for each n, the mean Jaccard of the two circuits, the share of
the edges of each frequency that the other circuit has, the calibration error (ten bins, edges of frequency above 0) of
the frequency and of the frequency corrected for another sample, and how many of the certified edges the other has.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from circuitstore.circuits import EdgeScores, bootstrap_frequency, certify_edges, halvings, replication, top
from circuitstore.circuits.similarity import jaccard
from circuitstore.discovery import score_edges
from circuitstore.images import image_pairs, open_source
from circuitstore.models import load_model

SIZES = (6, 12, 18, 30)
EDGES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Upper ends of the bins of frequency; 1 by itself is the last bin."""


@dataclass(frozen=True)
class Prediction:
    """What one sample says about another of the same size: one entry per edge, and two figures."""

    frequency: np.ndarray
    included: np.ndarray
    abstained: np.ndarray
    member: np.ndarray
    found: np.ndarray
    jaccard: float
    halves: float


def predict(scores: EdgeScores, n: int, edges: int, seed: int) -> Prediction:
    order = np.random.default_rng(seed).permutation(scores.n_images)
    one, other = scores.subset(order[:n]), scores.subset(order[n : 2 * n])
    circuit, again = top(one, edges), top(other, edges)
    certified = certify_edges(one.per_image, edges, seed=seed)
    best, found = (np.isin(np.arange(len(s.mean)), np.argsort(-s.mean, kind="stable")[:edges]) for s in (one, other))
    halves = [jaccard(top(a, edges), top(b, edges)) for a, b in halvings(one, seed=seed)]
    frequency = bootstrap_frequency(one.per_image, edges, seed=seed).astype(float)
    return Prediction(
        frequency, certified.included, certified.abstained, best, found, jaccard(circuit, again), float(np.mean(halves))
    )


def calibration_error(predicted: np.ndarray, found: np.ndarray) -> float:
    """Return the mean gap between predicted and found share, over ten bins, weighted by their edges."""
    bins = np.minimum((predicted * 10).astype(int), 9)
    gaps = [abs(predicted[bins == b].sum() - found[bins == b].sum()) for b in range(10)]
    return float(sum(gaps) / len(predicted))


def rows(made: dict[int, list[Prediction]]) -> Iterator[dict[str, object]]:
    for n, predictions in made.items():
        f, found, certain, abstained, member = (
            np.concatenate([getattr(p, name) for p in predictions])
            for name in ("frequency", "found", "included", "abstained", "member")
        )
        bins = np.where(f == 1, len(EDGES), np.searchsorted(EDGES, f, side="right"))
        some = f > 0
        yield {
            "images": n,
            "Jaccard": np.mean([p.jaccard for p in predictions]),
            "of halves": np.mean([p.halves for p in predictions]),
            **{f"f {name}": found[some & (bins == b)].mean() for b, name in enumerate(NAMES)},
            "error of f": calibration_error(f[some], found[some]),
            "corrected": calibration_error(replication(f[some]), found[some]),
            "certain": certain.sum() / len(predictions),
            "abstained": abstained.sum() / len(predictions),
            "certain, found": found[certain].mean() if certain.any() else np.nan,
            "abstained, found": found[abstained].mean(),
            "circuit, found": found[member].mean(),
        }


NAMES = ("< .1", ".1–.25", ".25–.5", ".5–.75", ".75–.9", ".9–1", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=24)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--method", default="eap-ig")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("digits")
    source = open_source("digits", model)
    made: dict[int, list[Prediction]] = {n: [] for n in SIZES}
    for cls in source.classes:
        scores = score_edges(model, image_pairs(source, model, cls.name, 68), args.method)
        for n in SIZES:
            made[n] += [predict(scores, n, args.edges, seed) for seed in range(args.draws)]
    print(pd.DataFrame(rows(made)).set_index("images").T.round(3).to_string())


if __name__ == "__main__":
    main()
