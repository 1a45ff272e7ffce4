"""How alike circuits are: the measures, for one pair and for all pairs of many, and what chance gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ..circuits import Circuit, CircuitRecord, joining_order
from ..circuits import similarity as pairwise
from ..errors import unknown

Matrix = Float[np.ndarray, "circuit circuit"]


@dataclass(frozen=True)
class Measure:
    """A measure of similarity; 1 for a circuit and itself.

    Attributes:
        key: its name.
        about: what it measures.
        needs: `members`, or `scores`, which methods that only select do not give.
        pair: of two circuits; where it needs scores, of the scores that they carry.
        matrix: of all pairs of records on one graph.
        chance: expected value for uniform random edge sets (rankings, for `spearman`) of two sizes among
            `n_edges`; None where it is not known.
    """

    key: str
    about: str
    needs: Literal["members", "scores"]
    pair: Callable[[Circuit, Circuit], float]
    matrix: Callable[[Sequence[CircuitRecord]], Matrix]
    chance: Callable[[int, int, int], float] | None


def members(records: Sequence[CircuitRecord]) -> Bool[np.ndarray, "circuit edge"]:
    """Member edges, a row a circuit."""
    return np.stack([r.circuit.members for r in records])


def scores(records: Sequence[CircuitRecord]) -> Float[np.ndarray, "circuit edge"]:
    """Scores of all edges, a row a circuit."""
    found = [r.score for r in records if r.score is not None]
    return np.stack(found).astype(np.float64)


def common_edges(inside: Bool[np.ndarray, "circuit edge"]) -> Int[np.ndarray, "circuit circuit"]:
    """Number of edges in both, for all pairs."""
    exact = inside.astype(np.float32)  # sums up to 2²⁴ are exact
    return (exact @ exact.T).astype(int)


def _nodes(records: Sequence[CircuitRecord]) -> Bool[np.ndarray, "circuit node"]:
    names = records[0].circuit.graph.node_names
    return np.array([[name in inside for name in names] for inside in (set(r.circuit.nodes) for r in records)])


def _dice(records: Sequence[CircuitRecord]) -> Matrix:
    common = common_edges(members(records))
    size = np.diag(common)
    total = size[:, None] + size[None, :]
    return np.where(total > 0, 2 * common / np.maximum(total, 1), 1.0)


def _weighted(records: Sequence[CircuitRecord]) -> Matrix:
    """Rows sum to 1, so Σ max = 2 − Σ min."""
    magnitude = np.abs(scores(records))
    unit = magnitude / np.maximum(magnitude.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    total = unit.sum(axis=1)
    low = np.stack([np.minimum(row, unit).sum(axis=1) for row in unit])
    high = total[:, None] + total[None, :] - low
    return np.where(high > 0, low / np.maximum(high, np.finfo(float).tiny), 1.0)


def _size(circuit: Circuit) -> int:
    return circuit.n_edges if circuit.size_requested is None else circuit.size_requested


def _overlap_of_two(a: Circuit, b: Circuit) -> float:
    assert a.scores is not None
    assert b.scores is not None
    return pairwise.overlap_at(a.scores, b.scores, min(_size(a), _size(b)))


def _overlap(records: Sequence[CircuitRecord]) -> Matrix:
    graph, sizes = records[0].circuit.graph, [_size(r.circuit) for r in records]
    orders = [joining_order(graph, row, "top") for row in scores(records)]
    out = np.ones((len(records), len(records)))
    for n in set(sizes):  # the smaller size of a pair decides how far both orders are followed
        inside = np.zeros((len(records), graph.n_edges), bool)
        for row, order in enumerate(orders):
            inside[row, order[:n]] = True
        smaller = np.minimum.outer(sizes, sizes) == n
        out[smaller] = (common_edges(inside) / n)[smaller] if n else 1.0
    return out


def _scored(measure: Callable[..., float]) -> Callable[[Circuit, Circuit], float]:
    return lambda a, b: measure(a.scores, b.scores)


MEASURES: dict[str, Measure] = {
    m.key: m
    for m in (
        Measure(
            "jaccard",
            "edges in both / edges in one or both",
            "members",
            pairwise.jaccard,
            lambda records: pairwise.jaccard_matrix(members(records)),
            pairwise.expected_jaccard,
        ),
        Measure(
            "node-jaccard",
            "nodes in both / nodes in one or both",
            "members",
            pairwise.node_jaccard,
            lambda records: pairwise.jaccard_matrix(_nodes(records)),
            None,
        ),
        Measure(
            "dice",
            "2 × edges in both / sum of the sizes",
            "members",
            pairwise.dice,
            _dice,
            lambda a, b, n_edges: 2 * a * b / n_edges / (a + b) if a + b else 1.0,
        ),
        Measure(
            "weighted-jaccard",
            "Σ min / Σ max of the magnitudes of all scores, each set scaled to sum 1",
            "scores",
            _scored(pairwise.weighted_jaccard),
            _weighted,
            None,
        ),
        Measure(
            "overlap",
            "share of the n best edges that are common, before pruning; n the smaller requested size",
            "scores",
            _overlap_of_two,
            _overlap,
            lambda a, b, n_edges: min(a, b) / n_edges,
        ),
        Measure(
            "spearman",
            "rank correlation of all scores",
            "scores",
            _scored(pairwise.spearman),
            lambda records: pairwise.spearman_matrix(scores(records)),
            lambda a, b, n_edges: 0.0,
        ),
    )
}


def get_measure(key: str) -> Measure:
    """The measure.

    Raises:
        InputError: there is none of that name.
    """
    if key not in MEASURES:
        raise unknown("measure", key, MEASURES)
    return MEASURES[key]
