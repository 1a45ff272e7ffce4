"""The noise floor: what a measure gives between two halves of one circuit's own images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..circuits import Circuit, CircuitRecord, Discovery, EdgeScores, WorkItem, halvings
from ..discovery import EXTRACTIONS
from ..store import Store
from .entries import Entry
from .measures import Measure, Sample

_WORK = 600_000
"""Edges times circuits that are halved for one comparison; some 10 s at 40 extractions a circuit."""

_LEAST, _MOST = 8, 400
"""Circuits that are halved for one comparison, however large or small the graph."""


@dataclass(frozen=True, eq=False)
class Floor:
    """Means over 20 seeded halvings, each half extracted again at the same size.

    Attributes:
        value: of the measure.
        changed: per edge, the share of halvings in which one given half has it and the other has not; None for
            measures of scores.
    """

    value: float
    changed: Float[np.ndarray, "edge"] | None

    @property
    def n_changed(self) -> float:
        """Edges that seem gained, and as many lost, where only the images differ; NaN for measures of scores."""
        return float("nan") if self.changed is None else float(self.changed.sum())


def floor_of(record: CircuitRecord, discovery: Discovery, measure: Measure) -> Floor | None:
    """Return the noise floor of one circuit; None where there are no halves of its images.

    There are none without scores per image, with fewer than two images, without a size, or where the circuit was
    extracted elsewhere in a way that cannot be repeated.
    """
    values, changed = [], []
    for a, b in _halves(record, discovery, measure):
        values.append(measure.pair(a, b))
        changed.append(a.circuit.members ^ b.circuit.members)
    if not values:
        return None
    return Floor(float(np.mean(values)), np.mean(changed, axis=0) / 2 if measure.needs == "members" else None)


def _halves(record: CircuitRecord, discovery: Discovery, measure: Measure) -> Iterator[tuple[Sample, Sample]]:
    """The circuits of 20 seeded pairs of halves of the images, each extracted again at the circuit's size."""
    scores, size = discovery.scores, record.circuit.size_requested
    known = record.extraction.kind in EXTRACTIONS and EXTRACTIONS[record.extraction.kind].take is not None
    if scores is None or (scores.n_images or 0) < 2 or not size or not known:
        return
    for a, b in halvings(scores, seed=record.item.recipe.seed):
        yield _again(record, size, a, measure), _again(record, size, b, measure)


def _again(record: CircuitRecord, size: int, scores: EdgeScores, measure: Measure) -> Sample:
    """The circuit of half the images, extracted as the whole one was; no edges where only scores are compared."""
    if measure.needs != "members":
        return Sample(Circuit(scores.graph, np.zeros(scores.graph.n_edges, bool), size), scores)
    return Sample(EXTRACTIONS[record.extraction.kind].again(scores, size, record.extraction), scores)


def read_floors(store: Store, entries: Sequence[Entry], measure: Measure, chosen: Collection[int]) -> dict[int, Floor]:
    """Return the noise floors of the circuits at the chosen positions, by position; those that are known."""
    floors = {}
    for i in chosen:
        record, _ = store.archive.circuit(entries[i].id)
        floor = floor_of(record, store.archive.discovery(entries[i].discovery_id)[0], measure)
        if floor is not None:
            floors[i] = floor
    return floors


def left_out_of_floors(items: Sequence[WorkItem]) -> Iterator[str]:
    """Yield a warning where circuits are contrasted with one class only: halves of the images keep it."""
    single = sum(len(item.contrast.against) == 1 for item in items)
    if single:
        yield (
            f"the noise floor leaves out what images are contrasted with: {single} of {len(items)} circuits are "
            "contrasted with one class, and with another one circuits differ more"
        )


def spread(counts: Sequence[int], n_edges: int) -> list[list[int]]:
    """Return which circuits of each of several groups get a noise floor: all, or as many as there is time for.

    They are spread evenly over the groups and within each; where a group has one, it is the group's first.

    Args:
        counts: circuits of each group.
        n_edges: of their graph, the largest if there are several.
    """
    most = min(sum(counts), _MOST, max(_LEAST, _WORK // n_edges))
    ends = np.cumsum(counts)
    shares = np.diff(-(-ends * most // ends[-1]), prepend=0).tolist()  # rounded up: the first group has one
    return [_evenly(count, share) for count, share in zip(counts, shares, strict=True)]


def _evenly(count: int, share: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, share).round().astype(int)).tolist()
