"""The noise floor of a study: what two halves of one class's own images differ by, edge by edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..circuits import CircuitRecord, Discovery
from ..query.floors import halves_of, spread
from ..query.measures import get_measure
from ..store import Store
from .studies import Study


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
    measure = get_measure("jaccard")
    pairs = list(halves_of(record, discovery, measure))
    if not pairs:
        return None
    changed = np.mean([a.circuit.members ^ b.circuit.members for a, b in pairs], axis=0) / 2
    return Floor(float(np.mean([measure.pair(a, b) for a, b in pairs])), changed.astype(np.float32))


def read_floors(store: Store, study: Study) -> Mapping[int, Floor]:
    """Noise floors by row of the study: of all its circuits, or of some spread evenly over many or large ones."""
    floors = {}
    (rows,) = spread([len(study.circuits)], study.graph.n_edges) if len(study.circuits) else ([],)
    for row in rows:
        record = store.circuit(study.circuits["id"].iloc[row])
        floor = floor_of(record, store.discovery(record.discovery_id))
        if floor is not None:
            floors[row] = floor
    return floors
