"""The noise floor: what two halves of one class's own images differ by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..circuits import CircuitRecord, Discovery, first, halvings
from ..circuits.extraction import How
from ..circuits.similarity import jaccard
from ..store import Store
from .studies import Study

_WORK = 600_000
"""Edges times circuits that are halved for one study; at 40 extractions each this is some 10 s."""


@dataclass(frozen=True, eq=False)
class Floor:
    """Means over 20 seeded halvings of a circuit's discovery images, each half extracted anew at the same size.

    Attributes:
        jaccard: edge Jaccard of the two halves' circuits.
        changed: per edge, the share of halvings in which one given half's circuit has it and the other's not.
            Its sum is the number of edges that seem gained (or lost) where nothing changed but the images.
    """

    jaccard: float
    changed: Float[np.ndarray, "edge"]


def floor_of(record: CircuitRecord, discovery: Discovery) -> Floor | None:
    """The noise floor of one circuit; None without scores per image, without two images or without a size."""
    scores, size = discovery.scores, record.circuit.size_requested
    if scores is None or (scores.n_images or 0) < 2 or not size:
        return None
    how, absolute = _how(record)
    shares, changed, count = [], np.zeros(record.circuit.graph.n_edges), 0
    for half in halvings(scores, seed=record.item.recipe.seed):
        a, b = (first(s, size, how, absolute=absolute) for s in half)
        shares.append(jaccard(a, b))
        changed += a.members ^ b.members
        count += 2
    return Floor(float(np.mean(shares)), (changed / count).astype(np.float32))


def _how(record: CircuitRecord) -> tuple[How, bool]:
    """How the circuit's edges were put in order: retention and counts grow it, top and threshold do not."""
    extraction = record.extraction
    how = "top" if extraction.kind in ("top", "threshold") else "greedy"
    return how, bool(dict(extraction.params).get("absolute", False))


def read_floors(store: Store, study: Study) -> Mapping[int, Floor]:
    """Noise floors by row of the study: of all its circuits, or of some spread evenly over many or large ones."""
    count = len(study.circuits)
    wanted = min(count, max(8, _WORK // study.graph.n_edges))
    floors = {}
    for row in np.unique(np.linspace(0, count - 1, wanted).round().astype(int)):
        record = store.circuit(study.circuits["id"].iloc[row])
        floor = floor_of(record, store.discovery(record.discovery_id))
        if floor is not None:
            floors[int(row)] = floor
    return floors
