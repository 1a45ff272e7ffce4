"""The swap floor: edges that change if the scores of each image under two conditions are swapped at random.

Halves of the images have half as many images as the circuits, which overstates the noise. Swapping keeps the number of
images and the pairs. It is the permutation test of "the condition does not matter".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from ..circuits import CircuitRecord, Discovery
from ..store import Store
from .entries import Entry
from .floors import extract_again, is_extracted, spread

SWAPS = 60
"""Number of seeded swaps; the least p-value is 1 / 61."""

QUANTILE = 0.95

_TIME = 3
"""Time of a swap floor in that of the noise floor of a circuit."""

Answer = tuple[CircuitRecord, Discovery]
"""A circuit, and the discovery that it was extracted from."""


@dataclass(frozen=True, eq=False)
class SwapFloor:
    """Edges that differ between two circuits of the same images, each extracted again at its own size.

    Attributes:
        observed: half the number of edges that only one of the two circuits has.
        swapped: the same in each swap. As many edges appear gained as lost on average.
    """

    observed: float
    swapped: Float[np.ndarray, "swap"]

    @property
    def mean(self) -> float:
        """Edges that appear gained, and equally many lost, if the condition does not matter."""
        return float(self.swapped.mean())

    @property
    def high(self) -> float:
        """The number that 95 % of the swaps do not exceed."""
        return float(np.quantile(self.swapped, QUANTILE, method="higher"))

    @property
    def p(self) -> float:
        """The p-value of "the condition does not matter": (1 + swaps with as many edges) / (1 + swaps)."""
        return float(1 + (self.swapped >= self.observed).sum()) / (1 + len(self.swapped))


def swap_floor(a: Answer, b: Answer) -> SwapFloor | None:
    """Return the swap floor of two circuits, or None if it is unknown.

    It is unknown without scores per image, with fewer than two common images (by content hash), without a requested
    size, over different universes, or with an extraction that is not known here.

    Args:
        a: the circuit before, such as that of natural images.
        b: the circuit after, such as that of attacked images.

    Examples:
        >>> natural, attacked = (store.circuits(attack=attack)["id"][0] for attack in ("natural", "typographic"))
        >>> records = [store.circuit(id) for id in (natural, attacked)]
        >>> floor = swap_floor(*[(record, store.discovery(record.discovery_id)) for record in records])
        >>> floor.mean <= floor.high, 0 < floor.p <= 1
        (True, True)
    """
    if a[1].universe != b[1].universe or not (is_extracted(*a) and is_extracted(*b)):
        return None
    common = [image for image in dict.fromkeys(a[1].images) if image in b[1].images]
    if len(common) < 2:
        return None
    (before, first), (after, second) = (_scores_of(discovery, common) for _, discovery in (a, b))
    rng = np.random.default_rng(a[0].item.recipe.seed)
    swapped = np.concatenate([np.zeros((1, len(common)), bool), rng.random((SWAPS, len(common))) < 0.5])
    shifts = swapped.astype(np.float64) @ (second - first) / len(common)
    counts = [(_members(*a, before + shift) ^ _members(*b, after - shift)).sum() / 2 for shift in shifts]
    return SwapFloor(float(counts[0]), np.array(counts[1:], np.float64))


def _scores_of(
    discovery: Discovery, images: Sequence[str]
) -> tuple[Float[np.ndarray, "edge"], Float[np.ndarray, "image edge"]]:
    """Return mean and scores of some images; the mean of all images is the stored one, which is not rounded."""
    assert discovery.scores is not None
    some = discovery.scores.subset(np.array([discovery.images.index(image) for image in images]))
    mean = discovery.scores.mean if len(images) == len(discovery.images) else some.mean
    return mean.astype(np.float64), np.asarray(some.per_image, np.float64)


def _members(record: CircuitRecord, discovery: Discovery, mean: Float[np.ndarray, "edge"]) -> Bool[np.ndarray, "edge"]:
    """Return the edges of the circuit that the record's extraction takes from other mean scores."""
    assert discovery.scores is not None
    scores = replace(
        discovery.scores, mean=mean.astype(discovery.scores.mean.dtype), std=None, per_image=None, parts={}
    )
    return extract_again(record, scores).members


def affordable_swaps(pairs: Sequence[tuple[Entry, Entry]]) -> list[int]:
    """Return the positions of the pairs whose swap floor is computed: all, or as many as time allows, evenly spread."""
    return spread([len(pairs)], _TIME * max(a.universe.n_edges for a, _ in pairs))[0] if pairs else []


def read_swap_floors(store: Store, pairs: Sequence[tuple[Entry, Entry]], chosen: Iterable[int]) -> dict[int, SwapFloor]:
    """Return the known swap floors of the pairs at the chosen positions, by position."""
    found = {i: swap_floor(*(_read(store, entry) for entry in pairs[i])) for i in chosen}
    return {i: floor for i, floor in found.items() if floor is not None}


def _read(store: Store, entry: Entry) -> Answer:
    return store.archive.circuit(entry.id)[0], store.archive.discovery(entry.discovery_id)[0]
