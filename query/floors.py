"""The noise floor: the value of a measure between two halves of the images of the same circuit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..circuits import Circuit, CircuitRecord, Discovery, EdgeScores, WorkItem, halvings
from ..discovery import EXTRACTIONS
from ..store import Store
from .entries import Entry
from .measures import Measure, Sample

_MAX_WORK = 600_000
"""Maximum of edges × circuits with a noise floor in one comparison; about 10 s at 40 extractions per circuit."""

_MIN_CIRCUITS, _MAX_CIRCUITS = 8, 400
"""Limits on the circuits with a noise floor in one comparison, for graphs of any size."""


@dataclass(frozen=True, eq=False)
class Floor:
    """Means over 20 seeded halvings; the circuit of each half is extracted again at the same size.

    Attributes:
        value: the measure.
        changed: per edge, half the share of halvings in which only one of the two halves has the edge; None for
            measures of scores.
    """

    value: float
    changed: Float[np.ndarray, "edge"] | None

    @property
    def n_changed(self) -> float:
        """Edges that appear gained, and equally many lost, when only the images differ; NaN for measures of scores."""
        return float("nan") if self.changed is None else float(self.changed.sum())


def floor_of(record: CircuitRecord, discovery: Discovery, measure: Measure) -> Floor | None:
    """Return the noise floor of one circuit, or None if its images cannot be halved.

    They cannot without scores per image, with fewer than two images, without a requested size, or with an extraction
    that is not known here.
    """
    values, changed = [], []
    for a, b in _halves(record, discovery, measure):
        values.append(measure.pair(a, b))
        changed.append(a.circuit.members ^ b.circuit.members)
    if not values:
        return None
    return Floor(float(np.mean(values)), np.mean(changed, axis=0) / 2 if measure.needs == "members" else None)


def _halves(record: CircuitRecord, discovery: Discovery, measure: Measure) -> Iterator[tuple[Sample, Sample]]:
    """Yield the circuits of 20 seeded pairs of halves of the images, extracted at the size of the circuit."""
    scores, size = discovery.scores, record.circuit.size_requested
    known = record.extraction.kind in EXTRACTIONS and EXTRACTIONS[record.extraction.kind].take is not None
    if scores is None or (scores.n_images or 0) < 2 or not size or not known:
        return
    for a, b in halvings(scores, seed=record.item.recipe.seed):
        yield _extract(record, size, a, measure), _extract(record, size, b, measure)


def _extract(record: CircuitRecord, size: int, scores: EdgeScores, measure: Measure) -> Sample:
    """Return the circuit of half the images, with the extraction of the whole; without edges for measures of scores."""
    if measure.needs != "members":
        return Sample(Circuit(scores.universe, np.zeros(scores.universe.n_edges, bool), size), scores)
    return Sample(EXTRACTIONS[record.extraction.kind].again(scores, size, record.extraction), scores)


def read_floors(store: Store, entries: Sequence[Entry], measure: Measure, chosen: Iterable[int]) -> dict[int, Floor]:
    """Return the known noise floors of the circuits at the chosen positions, by position."""
    floors = {}
    for i in chosen:
        record, _ = store.archive.circuit(entries[i].id)
        floor = floor_of(record, store.archive.discovery(entries[i].discovery_id)[0], measure)
        if floor is not None:
            floors[i] = floor
    return floors


def left_out_of_floors(items: Sequence[WorkItem]) -> Iterator[str]:
    """Yield a note if circuits are contrasted with one class only, which is the same for both halves of the images."""
    single = sum(len(item.contrast.against) == 1 for item in items)
    if single:
        yield (
            f"the noise floor does not cover the choice of the contrast class: {single} of {len(items)} circuits are "
            "contrasted with one class, and differ more when contrasted with another"
        )


def spread(counts: Sequence[int], n_edges: int) -> list[list[int]]:
    """Return the positions of the circuits in each group whose noise floor is computed: all, or as many as time allows.

    The circuits are spread evenly over the groups and within each group. If a group gets one, it is the first.

    Args:
        counts: the number of circuits in each group.
        n_edges: the number of edges of their universe, or of the largest universe.
    """
    total = min(sum(counts), _MAX_CIRCUITS, max(_MIN_CIRCUITS, _MAX_WORK // n_edges))
    ends = np.cumsum(counts)
    shares = np.diff(-(-ends * total // ends[-1]), prepend=0).tolist()  # rounded up, so the first group has one
    return [_evenly(count, share) for count, share in zip(counts, shares, strict=True)]


def _evenly(count: int, share: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, share).round().astype(int)).tolist()
