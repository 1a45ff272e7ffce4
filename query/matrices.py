"""A measure of similarity for all pairs of the circuits of one group, read from the archive one circuit at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from ..bars import late_bar
from ..circuits.similarity import check_ranked
from ..errors import InputError
from ..store import Store
from .entries import Entry
from .floors import read_floors, spread
from .forms import across_forms, coarseness, graphs_of
from .groups import Group
from .measures import Circuits, Matrix, Measure
from .similarity import Similarity, floors_of_pairs

T = TypeVar("T")


class Clock:
    """The seconds spent on loading, on computing and on noise floors, and a bar for what takes longer than two."""

    def __init__(self, progress: bool) -> None:
        self.seconds = {"load_s": 0.0, "compute_s": 0.0, "floors_s": 0.0}
        self._progress = progress
        self._last = time.perf_counter()

    def to(self, what: str) -> None:
        """Add the time since the last call to a counter."""
        now = time.perf_counter()
        self.seconds[what] += now - self._last
        self._last = now

    def bar(self, elements: Sequence[T], doing: str) -> Iterator[T]:
        """Yield elements, with a bar that says what is done with them."""
        return late_bar(elements, unit="circuit", desc=doing, wanted=self._progress)


@dataclass(frozen=True, eq=False)
class Compared:
    """A group with its figures.

    Attributes:
        edges: number of edges of the first circuit of each pair, in the form in which the pair is compared.
        common: number of edges that are in both circuits.
        changed: number of edges that appear gained, and equally many lost, between halves of each circuit's images;
            NaN if unknown.
    """

    group: Group
    similarity: Similarity
    edges: Int[np.ndarray, "circuit circuit"]
    common: Int[np.ndarray, "circuit circuit"]
    changed: Float[np.ndarray, "circuit"]

    @property
    def n_edges(self) -> int | None:
        """The number of edges of the universe; None if the circuits have different forms."""
        universes = {entry.universe for entry in self.group.entries}
        return next(iter(universes)).n_edges if len(universes) == 1 else None


def with_floors(found: Sequence[Group]) -> Iterator[tuple[Group, list[int]]]:
    """Yield each group with the circuits whose noise floor is computed; the limit on these is for all groups."""
    largest = max(group.entries[0].universe.n_edges for group in found)
    return zip(found, spread([len(group.entries) for group in found], largest), strict=True)


def compared_group(store: Store, group: Group, measure: Measure, clock: Clock) -> Compared:
    """Compute a measure for all pairs of a group's circuits, without noise floors, which take much longer.

    Args:
        store: the store to read.
        group: the circuits.
        measure: the measure.
        clock: counts the seconds; those of reading scores are computing, because they are ranked as they are read.
    """
    universes = [entry.universe for entry in group.entries]
    if len(set(universes)) > 1:
        values, edges, common = _across_forms(store, group.entries, measure, clock)
        chance = np.full(values.shape, np.nan)
    else:
        circuits = _circuits(store, group.entries, measure, clock)
        clock.to("load_s")
        values, chance, common = measure.matrix(circuits), measure.chance_levels(circuits), circuits.common
        edges = np.broadcast_to(np.diag(common)[:, None], common.shape)
    clock.to("compute_s")
    unknown = np.full(values.shape, np.nan)
    return Compared(
        group, Similarity(group.labels, measure, values, chance, unknown), edges, common, unknown.diagonal()
    )


def add_floors(store: Store, compared: Compared, halved: Collection[int], clock: Clock) -> Compared:
    """Return a group with the noise floors of some circuits, and of the pairs that have one of these.

    Args:
        store: the store to read.
        compared: the group.
        halved: positions of the circuits whose noise floor is computed.
        clock: counts the seconds.
    """
    entries, similarity = compared.group.entries, compared.similarity
    own, changed = np.full((2, len(entries)), np.nan)
    chosen = clock.bar(list(halved), "noise floors")
    for i, floor in read_floors(store, entries, similarity.measure, chosen).items():
        own[i], changed[i] = floor.value, floor.n_changed
    clock.to("floors_s")
    floors = floors_of_pairs(own, [coarseness(entry.universe) for entry in entries])
    return replace(compared, similarity=replace(similarity, floors=floors), changed=changed)


def _across_forms(
    store: Store, entries: Sequence[Entry], measure: Measure, clock: Clock
) -> tuple[Matrix, Int[np.ndarray, "circuit circuit"], Int[np.ndarray, "circuit circuit"]]:
    graphs = graphs_of([entry.universe for entry in entries])
    members = [store.members([entry.id])[0] for entry in entries]
    clock.to("load_s")
    return across_forms(graphs, members, measure)


def _circuits(store: Store, entries: Sequence[Entry], measure: Measure, clock: Clock) -> Circuits:
    """Load the arrays of one group; those of all groups at once may not fit into memory. Scores are read when used.

    Raises:
        InputError: the measure needs scores, or ranks of scores, that the method does not give.
    """
    scores = None
    if measure.needs != "members":
        _check_scores(store, entries, measure)
        scores = store.archive.iter_scores(clock.bar([e.discovery_id for e in entries], "scores"))
    sizes = [int(e.row["n_edges"]) if e.size_requested is None else e.size_requested for e in entries]
    universe, members = entries[0].universe, np.empty((len(entries), entries[0].universe.n_edges), bool)
    for i, row in enumerate(store.archive.iter_members(clock.bar([e.id for e in entries], "circuits"))):
        members[i] = row
    return Circuits(universe, members, sizes, scores)


def _check_scores(store: Store, entries: Sequence[Entry], measure: Measure) -> None:
    """Check that the method gives the scores, or ranks of scores, that the measure needs."""
    first, _ = store.archive.circuit(entries[0].id)
    if first.circuit.score is None:
        raise InputError(
            f"method {first.item.recipe.method.text} selects edges and gives no scores; "
            "use a measure of edges: jaccard, node-jaccard or dice"
        )
    if measure.needs == "ranks":
        for entry in {e.item.recipe.method: e for e in entries}.values():
            discovery, _ = store.archive.discovery(entry.discovery_id, per_image=False)
            check_ranked(measure.key, discovery.scores is not None and discovery.scores.shares)
