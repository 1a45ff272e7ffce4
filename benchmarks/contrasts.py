"""How much a circuit depends on the classes that its class is contrasted with, compared with the noise floor.

    python benchmarks/contrasts.py [--edges 40] [--draws 6]

For every class of the demo model, the same discovery images are scored with new partners in each draw: from one other
class (`partners = 1`), then from all (`partners = "all"`). The output is the mean Jaccard index between the circuits of
two draws, and the noise floor: the same between halves of one draw's images.
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
    Predictions,
    build_pairs,
    contrast_classes,
    deal_partners,
    open_source,
)
from circuitstore.images.select import Selected, select_images
from circuitstore.models import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=40)
    parser.add_argument("--draws", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CircuitStoreWarning)  # about residuals
    model = load_model("digits")
    source, natural = open_source("digits", model), CONDITIONS.resolve("natural")
    chosen = {c: select_images(Predictions(source, model), c, per_class=36) for c in source.classes}
    print(f"top {args.edges} edges, {args.draws} draws of partners, 18 images; mean over classes (minimum)")
    for partners in (1, "all"):
        corruption = CORRUPTIONS.resolve("other-class", {"partners": partners})
        between, floor = [], []
        for cls in source.classes:
            scores = []
            for seed in range(args.draws):
                classes = contrast_classes(corruption, source, cls, seed=seed, count=36)
                dealt = deal_partners([pool(chosen[c], seed) for c in classes], len(chosen[cls].discovery))
                predictions = Predictions(source, model, seed)
                pairs = build_pairs(predictions, cls, chosen[cls].discovery, natural, corruption, partners=dealt)
                scores.append(score_edges(model, pairs, steps=5))
            between.append(similar([top(s, args.edges) for s in scores]))
            floor.append(np.mean([halved(s, args.edges) for s in scores]))
        print(f"partners = {partners!s:4} two draws {show(between)}   halves of the images {show(floor)}", flush=True)


def pool(images: Selected, seed: int) -> Sequence:
    """Return the discovery images of a class, starting at a different one in each draw."""
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
