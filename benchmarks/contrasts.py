"""How much the classes that a class is contrasted with move its circuit, beside the noise floor of halved images.

    python benchmarks/contrasts.py [--edges 40] [--draws 6]

For every class of the demo model, the same discovery images are scored against counterparts dealt anew in each draw:
of one other class (`partners = 1`), then of all (`partners = "all"`). Reported are the mean Jaccard index between the
circuits of two draws, and the noise floor: the same between halves of one draw's images.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from circuitstore.circuits import Circuit, EdgeScores, halvings, top
from circuitstore.circuits.similarity import jaccard
from circuitstore.discovery import score_edges
from circuitstore.errors import CircuitStoreWarning
from circuitstore.images import (
    CONDITIONS,
    CORRUPTIONS,
    Readings,
    build_pairs,
    contrast_classes,
    deal,
    open_source,
)
from circuitstore.images.select import Selected, select_images
from circuitstore.models import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=40)
    parser.add_argument("--draws", type=int, default=6)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)  # residuals
    model = load_model("digits")
    source, natural = open_source("digits", model), CONDITIONS.resolve("natural")
    chosen = {c: select_images(Readings(source, model), c, per_class=36) for c in source.classes}
    print(f"top {asked.edges} edges, {asked.draws} draws of partners, 18 images; mean over classes (least)")
    for partners in (1, "all"):
        corruption = CORRUPTIONS.resolve("other-class", {"partners": partners})
        between, floor = [], []
        for cls in source.classes:
            scores = []
            for seed in range(asked.draws):
                classes = contrast_classes(corruption, source, cls, seed=seed, most=36)
                dealt = deal([pool(chosen[c], seed) for c in classes], len(chosen[cls].discovery))
                pairs = build_pairs(
                    source, model, cls, chosen[cls].discovery, natural, corruption, seed=seed, partners=dealt
                )
                scores.append(score_edges(model, pairs, steps=5))
            between.append(similar([top(s, asked.edges) for s in scores]))
            floor.append(np.mean([halved(s, asked.edges) for s in scores]))
        print(f"partners = {partners!s:4} two draws {show(between)}   halves of the images {show(floor)}", flush=True)


def pool(images: Selected, seed: int) -> Sequence:
    """The discovery images of a class, begun at another one in each draw."""
    refs = images.discovery
    return refs[seed % len(refs) :] + refs[: seed % len(refs)]


def similar(circuits: Sequence[Circuit]) -> float:
    return float(np.mean([jaccard(a, b) for a, b in itertools.combinations(circuits, 2)]))


def halved(scores: EdgeScores, edges: int) -> float:
    return float(np.mean([jaccard(top(a, edges), top(b, edges)) for a, b in halvings(scores)]))


def show(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ({min(values):.2f})"


if __name__ == "__main__":
    main()
