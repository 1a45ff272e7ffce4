"""Measures of similarity between circuits, for one pair and for all pairs, with their chance levels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ..circuits import Circuit, EdgeScores, Universe, joining_order, profile_matrix, profile_overlap
from ..circuits import similarity as pairwise
from ..circuits.similarity import common_edges
from ..errors import check_known

Matrix = Float[np.ndarray, "circuit circuit"]


@dataclass(frozen=True, eq=False)
class Circuits:
    """Circuits over one universe, one per row.

    Attributes:
        universe: the universe, whose edges are the columns.
        members: whether an edge is in a circuit.
        sizes: requested numbers of edges; actual numbers if none was requested.
        scores: scores of all edges of each circuit, which are read once; None if the measure does not need them.
    """

    universe: Universe
    members: Bool[np.ndarray, "circuit edge"]
    sizes: Sequence[int]
    scores: Iterable[Float[np.ndarray, "edge"]] | None = None

    @cached_property
    def common(self) -> Int[np.ndarray, "circuit circuit"]:
        """The number of edges in both circuits, for all pairs."""
        return common_edges(self.members)


@dataclass(frozen=True, eq=False)
class Sample:
    """One of the two circuits that a measure compares.

    Attributes:
        circuit: the circuit; measures of scores use only its size.
        scores: scores of all edges; None if they are unknown.
    """

    circuit: Circuit
    scores: EdgeScores | None = None


@dataclass(frozen=True)
class Measure:
    """A measure of similarity; 1 for a circuit and itself.

    Attributes:
        key: its name.
        about: what it measures.
        needs: `members`; `scores`, which methods that only select edges do not give; or `ranks` of the scores over all
            edges, which do not exist for scores that are shares.
        pair: computes the measure of two samples.
        matrix: computes the measure of all pairs.
        chance: computes the expected value for uniform random edge sets (rankings, for `spearman`) from the two sizes
            and `n_edges`; None if it is unknown.
    """

    key: str
    about: str
    needs: Literal["members", "scores", "ranks"]
    pair: Callable[[Sample, Sample], float]
    matrix: Callable[[Circuits], Matrix]
    chance: Callable[[int, int, int], float] | None

    @property
    def column(self) -> str:
        """Its name as a column of a table."""
        return self.key.replace("-", "_")

    def chance_levels(self, circuits: Circuits) -> Matrix:
        """Return the chance levels of all pairs; NaN where they are unknown."""
        if self.chance is None:
            return np.full((len(circuits.members), len(circuits.members)), np.nan)
        sizes = circuits.sizes if self.needs == "ranks" else circuits.members.sum(axis=1)
        unique, at = np.unique(sizes, return_inverse=True)
        table = np.zeros((len(unique), len(unique)))
        for i, j in combinations_with_replacement(range(len(unique)), 2):
            table[i, j] = table[j, i] = self.chance(int(unique[i]), int(unique[j]), circuits.universe.n_edges)
        return table[np.ix_(at, at)]


def _scores(circuits: Circuits) -> Iterable[Float[np.ndarray, "edge"]]:
    assert circuits.scores is not None
    return circuits.scores


def _nodes(circuits: Circuits) -> Bool[np.ndarray, "circuit node"]:
    return np.stack([circuits.universe.reachable(row) & row.any() for row in circuits.members])


def _dice(circuits: Circuits) -> Matrix:
    common, size = circuits.common, np.diag(circuits.common)
    total = size[:, None] + size[None, :]
    return np.where(total > 0, 2 * common / np.maximum(total, 1), 1.0)


def _weighted(circuits: Circuits) -> Matrix:
    """Compute the weighted Jaccard; each row is scaled to sum 1, so Σ max = 2 − Σ min."""
    n = len(circuits.members)
    unit, low = np.empty((n, circuits.universe.n_edges)), np.empty((n, n))
    for i, row in enumerate(_scores(circuits)):
        magnitude = np.abs(row.astype(np.float64))
        unit[i] = magnitude / max(magnitude.sum(), np.finfo(float).tiny)
        low[i, : i + 1] = low[: i + 1, i] = np.minimum(unit[i], unit[: i + 1]).sum(axis=1)
    total = unit.sum(axis=1)
    high = total[:, None] + total[None, :] - low
    return np.where(high > 0, low / np.maximum(high, np.finfo(float).tiny), 1.0)


def _size(circuit: Circuit) -> int:
    return circuit.n_edges if circuit.size_requested is None else circuit.size_requested


def _overlap_of_two(a: Sample, b: Sample) -> float:
    assert a.scores is not None
    assert b.scores is not None
    return pairwise.overlap_at(a.scores, b.scores, min(_size(a.circuit), _size(b.circuit)))


def _overlap(circuits: Circuits) -> Matrix:
    universe, sizes = circuits.universe, circuits.sizes
    orders = [joining_order(universe, row, "top") for row in _scores(circuits)]
    out = np.ones((len(sizes), len(sizes)))
    for n in set(sizes):  # the smaller size of a pair is the n for both
        inside = np.zeros((len(sizes), universe.n_edges), bool)
        for row, order in enumerate(orders):
            inside[row, order[:n]] = True
        smaller = np.minimum.outer(sizes, sizes) == n
        out[smaller] = (common_edges(inside) / n)[smaller] if n else 1.0
    return out


def _of_scores(measure: Callable[..., float]) -> Callable[[Sample, Sample], float]:
    return lambda a, b: measure(a.scores, b.scores)


def _of_edges(measure: Callable[[Circuit, Circuit], float]) -> Callable[[Sample, Sample], float]:
    return lambda a, b: measure(a.circuit, b.circuit)


MEASURES: dict[str, Measure] = {
    m.key: m
    for m in (
        Measure(
            "jaccard",
            "edges in both / edges in one or both",
            "members",
            _of_edges(pairwise.jaccard),
            lambda circuits: pairwise.jaccard_of_common(circuits.common),
            pairwise.expected_jaccard,
        ),
        Measure(
            "node-jaccard",
            "nodes in both / nodes in one or both",
            "members",
            _of_edges(pairwise.node_jaccard),
            lambda circuits: pairwise.jaccard_matrix(_nodes(circuits)),
            None,
        ),
        Measure(
            "dice",
            "2 × edges in both / sum of the sizes",
            "members",
            _of_edges(pairwise.dice),
            _dice,
            lambda a, b, n_edges: 2 * a * b / n_edges / (a + b) if a + b else 1.0,
        ),
        Measure(
            "profile",
            "common share of the ends of edges, by kind of component and quarter of the depth",
            "members",
            _of_edges(profile_overlap),
            lambda circuits: profile_matrix(circuits.universe, circuits.members),
            None,
        ),
        Measure(
            "weighted-jaccard",
            "Σ min / Σ max of the magnitudes of all scores, each set scaled to sum 1",
            "scores",
            _of_scores(pairwise.weighted_jaccard),
            _weighted,
            None,
        ),
        Measure(
            "overlap",
            "share of the n best edges that are in both, before pruning; n is the smaller requested size",
            "ranks",
            _overlap_of_two,
            _overlap,
            lambda a, b, n_edges: min(a, b) / n_edges,
        ),
        Measure(
            "spearman",
            "rank correlation of all scores",
            "ranks",
            _of_scores(pairwise.spearman),
            lambda circuits: pairwise.spearman_matrix(_scores(circuits)),
            lambda a, b, n_edges: 0.0,
        ),
    )
}


def get_measure(key: str) -> Measure:
    """Return the measure with the given name.

    Raises:
        InputError: there is no such measure.
    """
    check_known("measure", key, MEASURES)
    return MEASURES[key]
