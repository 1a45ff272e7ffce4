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
    if not is_extracted(record, discovery):
        return
    assert discovery.scores is not None
    for a, b in halvings(discovery.scores, seed=record.item.recipe.seed):
        yield _sample(record, a, measure), _sample(record, b, measure)


def is_extracted(record: CircuitRecord, discovery: Discovery) -> bool:
    """Return whether circuits of the requested size can be extracted from the scores of some of the images."""
    scores, kind = discovery.scores, record.extraction.kind
    known = kind in EXTRACTIONS and EXTRACTIONS[kind].take is not None
    return scores is not None and (scores.n_images or 0) > 1 and bool(record.circuit.size_requested) and known


def extract_again(record: CircuitRecord, scores: EdgeScores) -> Circuit:
    """Return the circuit of other scores, with extraction and requested size of a record."""
    assert record.circuit.size_requested is not None
    return EXTRACTIONS[record.extraction.kind].again(scores, record.circuit.size_requested, record.extraction)


def _sample(record: CircuitRecord, scores: EdgeScores, measure: Measure) -> Sample:
    """Return the circuit of half the images; without edges for measures of scores."""
    if measure.needs == "members":
        return Sample(extract_again(record, scores), scores)
    empty = np.zeros(scores.universe.n_edges, bool)
    return Sample(Circuit(scores.universe, empty, record.circuit.size_requested), scores)


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
        counts: the number of circuits in each group; not all 0.
        n_edges: the number of edges of their universe, or of the largest universe.
    """
    total = min(sum(counts), _MAX_CIRCUITS, max(_MIN_CIRCUITS, _MAX_WORK // n_edges))
    ends = np.cumsum(counts)
    shares = np.diff(-(-ends * total // ends[-1]), prepend=0).tolist()  # rounded up, so the first group has one
    return [_evenly(count, share) for count, share in zip(counts, shares, strict=True)]


def _evenly(count: int, share: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, share).round().astype(int)).tolist()
