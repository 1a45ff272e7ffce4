"""How much the circuits of a study depend on the choice of images, from the stored scores of single images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from ..circuits import (
    MIN_IMAGES,
    CircuitRecord,
    bootstrap_frequency,
    certify_edges,
    replication,
    stability_curve,
)
from ..discovery import is_absolute
from ..query.stability import ranked_images
from ..store import Store

ENOUGH = 0.8
"""Jaccard index of the circuits of two samples for which the table says how many images are enough."""

CALIBRATION = pd.DataFrame(
    {
        "frequency": ["below .1", ".1 to .25", ".25 to .5", ".5 to .75", ".75 to .9", ".9 to 1", "1"],
        "12 images": [0.10, 0.21, 0.37, 0.51, 0.67, 0.84, 0.98],
        "18 images": [0.09, 0.23, 0.36, 0.52, 0.71, 0.86, 0.98],
        "30 images": [0.09, 0.25, 0.37, 0.54, 0.72, 0.87, 0.99],
    }
)
"""Share of the edges of each bootstrap frequency that the circuit of other images has; from benchmarks/frequency.py."""


def read_stability(store: Store, records: Iterable[CircuitRecord]) -> pd.DataFrame:
    """Return one row per circuit whose scores of single images are stored.

    Returns:
        Columns `class, condition`; `images`; `edges` (requested); `certain, abstained, excluded` (numbers of edges);
        `frequency, replication` (means over the edges of the circuit: the share of bootstrap samples that have an edge,
        and the probability that another sample of as many images has it); `half` and `jaccard` (of two disjoint samples
        of so many images), `chance`, `doubled` (expected for two samples of as many images as there are), `enough`
        (images for which `ENOUGH` is expected). No columns if there is no such circuit.
    """
    found = (_stability(store, record) for record in records)
    return pd.DataFrame([row for row in found if row is not None])


def _stability(store: Store, record: CircuitRecord) -> dict[str, Any] | None:
    per_image = ranked_images(store, record)
    if per_image is None or len(per_image) < MIN_IMAGES:
        return None
    size = min(record.circuit.size_requested or 0, record.circuit.universe.n_edges)
    choice = {"absolute": is_absolute(record.extraction), "seed": record.item.recipe.seed}
    certified = certify_edges(per_image, size, **choice)
    frequency = bootstrap_frequency(per_image, size, **choice)[record.circuit.members].astype(float)
    curve = stability_curve(per_image, size, **choice)
    return {
        "class": record.item.target_class.name,
        "condition": record.item.condition.text,
        "images": len(per_image),
        "edges": size,
        "certain": int(certified.included.sum()),
        "abstained": int(certified.abstained.sum()),
        "excluded": int(certified.excluded.sum()),
        "frequency": float(frequency.mean()),
        "replication": float(replication(frequency).mean()),
        "half": int(curve.images[-1]),
        "jaccard": float(curve.jaccard[-1]),
        "chance": curve.chance,
        "doubled": curve.doubled,
        "enough": curve.images_for(ENOUGH),
    }
