"""Named queries about how a circuit depends on the choice of images, from the scores per image in the archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..circuits import MIN_IMAGES, CircuitRecord, bootstrap_frequency, certify_edges, replication, stability_curve
from ..discovery import EXTRACTIONS, is_absolute
from ..results import Table
from .headers import columns_of

if TYPE_CHECKING:
    from ..store import Store


def edge_stability(store: Store, values: Mapping[str, Any]) -> Table:
    """Stability of edges under the choice of images: how often they are among the n best, n being the requested size.

    Parameters:
      circuit: circuit; its id, or the beginning of it
    Columns:
      edge: name of the edge; all edges of the circuit, and others that are not certified to be excluded
      member: whether it is in the circuit
      score: mean over images; positive raises the metric
      std: standard deviation over images; missing for one image
      frequency: share of bootstrap samples of the images that choose it
      replication: probability that another sample of as many images chooses it
      votes: share of random deletions of images after which it is chosen
      verdict: certain, excluded or abstained: whether no single image decides about it
    """
    record, _ = store.archive.circuit(values["circuit"])
    per_image = ranked_images(store, record)
    if per_image is None:
        return Table(pd.DataFrame(columns=columns_of(edge_stability)), (NO_RANKS,))
    size, absolute, seed = record.circuit.size_requested or 0, is_absolute(record.extraction), record.item.recipe.seed
    frequency = bootstrap_frequency(per_image, size, absolute=absolute, seed=seed)
    certified = certify_edges(per_image, size, absolute=absolute, seed=seed)
    frame = pd.DataFrame(
        {
            "edge": record.circuit.universe.edge_names,
            "member": record.circuit.members,
            "score": per_image.mean(axis=0, dtype=np.float64),
            "std": per_image.std(axis=0, ddof=1, dtype=np.float64) if len(per_image) > 1 else np.nan,
            "frequency": frequency.astype(np.float64),
            "replication": replication(frequency.astype(np.float64)),
            "votes": certified.votes,
            "verdict": np.select([certified.included, certified.excluded], ["certain", "excluded"], "abstained"),
        }
    )
    shown = frame.loc[record.circuit.members | ~certified.excluded].sort_values(["votes", "score"], ascending=False)
    masks = {"certain": certified.included, "abstained": certified.abstained, "excluded": certified.excluded}
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    return Table(shown.reset_index(drop=True), facts={"images": len(per_image), **counts})


def stability_by_images(store: Store, values: Mapping[str, Any]) -> Table:
    """Similarity of the circuits of two samples of images, by the number of images: are there enough?

    Parameters:
      circuit: circuit; its id, or the beginning of it
      jaccard: number = 0.8; Jaccard index for which the fact images_for says how many images are enough
    Columns:
      images: number of images in each of two disjoint samples; in the last row all images, for two samples of so many
      jaccard: mean Jaccard index of their n best edges, n being the requested size; missing in the last row
      expected: the same by a power law fitted to the rows
      chance: the same for random sets of n edges
    """
    record, _ = store.archive.circuit(values["circuit"])
    per_image = ranked_images(store, record)
    if per_image is None or len(per_image) < MIN_IMAGES:
        note = NO_RANKS if per_image is None else f"fewer than {MIN_IMAGES} images: no two samples of several sizes"
        return Table(pd.DataFrame(columns=columns_of(stability_by_images)), (note,))
    size, absolute = record.circuit.size_requested or 0, is_absolute(record.extraction)
    curve = stability_curve(per_image, size, absolute=absolute, seed=record.item.recipe.seed)
    return Table(curve.to_pandas(), facts={"images_for": curve.images_for(values["jaccard"]), "doubled": curve.doubled})


NO_RANKS = (
    "the scores of single images were not kept, the edges have no order over the whole graph, or the method selected "
    "the edges itself"
)


def ranked_images(store: Store, record: CircuitRecord) -> Float[np.ndarray, "image edge"] | None:
    """Return the scores per image by which a circuit's edges are ranked; None if there are none."""
    scores = store.archive.discovery(record.discovery_id)[0].scores
    extraction = record.extraction.kind
    ordered = extraction in EXTRACTIONS and EXTRACTIONS[extraction].take is not None
    if scores is None or scores.shares or not ordered or not record.circuit.size_requested:
        return None
    return scores.per_image
