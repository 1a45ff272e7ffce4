"""Similarity of two circuits or score sets, for one pair and for all pairs of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from ..errors import InputError, NotComparable
from .circuit import Circuit
from .extraction import edge_count, joining_order
from .scores import EdgeScores
from .universe import Universe

_ROWS = 256
"""Circuits whose scores are compared at once."""

_BLOCK = 1 << 14
"""Pairs whose p-values are computed at once."""


def check_same_universe(a: Universe, b: Universe) -> None:
    """Check that edges of two universes can be compared.

    Raises:
        NotComparable: they differ.
    """
    if a != b:
        raise NotComparable(
            f"the universes differ: {a} against {b}; project additive scores to a common form of one graph, or extract "
            "circuits again"
        )


def _ratio(part: float, whole: float) -> float:
    """Return part / whole; 1 for two empty sets, which are equal."""
    return part / whole if whole else 1.0


def check_ranked(measure: str, shares: bool) -> None:
    """Check that scores can be ranked over all edges.

    Raises:
        InputError: the scores of either side are shares.
    """
    if shares:
        raise InputError(
            f"{measure}: these scores are shares of what each receiver reads, and have no order over all edges; "
            "compare circuits by jaccard, node-jaccard or dice, or scores by weighted-jaccard"
        )


def jaccard(a: Circuit, b: Circuit) -> float:
    """Return |A ∩ B| / |A ∪ B| over edges; 1 for two empty circuits."""
    check_same_universe(a.universe, b.universe)
    return _ratio(int((a.members & b.members).sum()), int((a.members | b.members).sum()))


def node_jaccard(a: Circuit, b: Circuit) -> float:
    """Return |A ∩ B| / |A ∪ B| over nodes."""
    check_same_universe(a.universe, b.universe)
    first, second = set(a.nodes), set(b.nodes)
    return _ratio(len(first & second), len(first | second))


def dice(a: Circuit, b: Circuit) -> float:
    """Return 2 |A ∩ B| / (|A| + |B|) over edges."""
    check_same_universe(a.universe, b.universe)
    return _ratio(2 * int((a.members & b.members).sum()), a.n_edges + b.n_edges)


def weighted_jaccard(a: EdgeScores, b: EdgeScores) -> float:
    """Return Σ min(|s|, |s'|) / Σ max(|s|, |s'|), with each scaled to Σ |s| = 1."""
    check_same_universe(a.universe, b.universe)
    x, y = _unit(a.mean), _unit(b.mean)
    return _ratio(float(np.minimum(x, y).sum()), float(np.maximum(x, y).sum()))


def _unit(values: np.ndarray) -> np.ndarray:
    magnitude = np.abs(values.astype(np.float64))
    total = magnitude.sum()
    return magnitude / total if total else magnitude


def overlap_at(a: EdgeScores, b: EdgeScores, n: int, *, absolute: bool = False) -> float:
    """Return |top-n of A ∩ top-n of B| / n, before pruning.

    Raises:
        InputError: `n` is larger than the number of edges, or scores are shares, which have no order.
    """
    check_same_universe(a.universe, b.universe)
    check_ranked("overlap", a.shares or b.shares)
    n = edge_count(a.universe, n)
    first, second = (joining_order(s.universe, s.mean, "top", absolute=absolute, limit=n) for s in (a, b))
    return _ratio(len(np.intersect1d(first, second)), n)


def spearman(a: EdgeScores, b: EdgeScores) -> float:
    """Return the rank correlation of all scores; NaN if one of them is constant.

    Raises:
        InputError: scores are shares, which have no order.
    """
    check_same_universe(a.universe, b.universe)
    check_ranked("spearman", a.shares or b.shares)
    return float(spearman_matrix(np.stack([a.mean, b.mean]))[0, 1])


def expected_jaccard(n_a: int, n_b: int, n_edges: int) -> float:
    """Return the chance level: the mean Jaccard of two uniform random edge sets of these sizes (hypergeometric)."""
    mean = n_a * n_b / max(n_edges, 1)
    reach = 40 + 12 * np.sqrt(mean)  # of the number of common edges; outside, the probability is below 1e-16
    common = np.arange(max(0, n_a + n_b - n_edges, int(mean - reach)), min(n_a, n_b, int(mean + reach)) + 1)
    weight = np.exp(_log_comb(n_a, common) + _log_comb(n_edges - n_a, n_b - common) - _log_comb(n_edges, n_b))
    union = n_a + n_b - common
    return float((weight * np.where(union > 0, common / np.maximum(union, 1), 1.0)).sum())


def overlap_p_values(
    common: Int[np.ndarray, "pair"], n_a: Int[np.ndarray, "pair"], n_b: Int[np.ndarray, "pair"], n_edges: int
) -> Float[np.ndarray, "pair"]:
    """Return the probability that uniform random edge sets of these sizes have at least so many edges in common.

    The hypergeometric tail, each term computed from the one before it, for blocks of pairs that fit into the cache.
    """
    blocks = range(0, len(common), _BLOCK)
    parts = [_tails(common[i : i + _BLOCK], n_a[i : i + _BLOCK], n_b[i : i + _BLOCK], n_edges) for i in blocks]
    return np.concatenate(parts) if parts else np.empty(0)


def _tails(
    common: Int[np.ndarray, "pair"], n_a: Int[np.ndarray, "pair"], n_b: Int[np.ndarray, "pair"], n_edges: int
) -> Float[np.ndarray, "pair"]:
    start = np.maximum(common, n_a + n_b - n_edges)
    log_first = _log_comb(n_a, start) + _log_comb(n_edges - n_a, n_b - start) - _log_comb(n_edges, n_b)
    term, total = np.ones((2, len(start)))
    for step in range(int(np.max(np.minimum(n_a, n_b) - start, initial=0))):
        k = start + step
        term = term * np.maximum(n_a - k, 0) * np.maximum(n_b - k, 0) / ((k + 1) * (n_edges - n_a - n_b + k + 1))
        total += term
        if (term <= 1e-16 * total).all():
            break
    return np.minimum(1.0, np.exp(log_first + np.log(total)))


def _log_comb(n: np.ndarray | int, k: np.ndarray | int) -> np.ndarray:
    """Return log(n over k), 3,000 times faster than scipy's hypergeom at 16,000 edges and equal to 1e-12."""
    return (
        special.gammaln(np.asarray(n) + 1) - special.gammaln(np.asarray(k) + 1) - special.gammaln(n - np.asarray(k) + 1)
    )


def common_edges(members: Bool[np.ndarray, "circuit edge"]) -> Int[np.ndarray, "circuit circuit"]:
    """Return the number of edges in both circuits, for all pairs, by one dense product.

    With 3,000 circuits of 1,100 edges of ViT-B it takes a tenth of the CPU time of a sparse product.
    """
    exact = members[:, members.any(axis=0)].astype(np.float32)  # sums up to 2²⁴ are exact
    return (exact @ exact.T).astype(int)


def jaccard_matrix(members: Bool[np.ndarray, "circuit edge"]) -> Float[np.ndarray, "circuit circuit"]:
    """Return the Jaccard of all pairs."""
    return jaccard_of_common(common_edges(members))


def jaccard_of_common(common: Int[np.ndarray, "circuit circuit"]) -> Float[np.ndarray, "circuit circuit"]:
    """Return the Jaccard of all pairs from the numbers of edges in both; on the diagonal, the sizes."""
    size = np.diag(common)
    union = size[:, None] + size[None, :] - common
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)


def spearman_matrix(scores: Iterable[Float[np.ndarray, "edge"]]) -> Float[np.ndarray, "circuit circuit"]:
    """Return Spearman's correlation of all pairs by products of ranks (ties averaged), centred and scaled.

    Args:
        scores: of each circuit; read once, and compared, block by block, with those read before.
    """
    blocks: list[np.ndarray] = []
    products: list[np.ndarray] = []
    for block in _blocks(map(_unit_ranks, scores)):
        blocks.append(block)
        products.append(np.hstack([block @ other.T for other in blocks]))
    size = sum(map(len, blocks))
    matrix = np.empty((size, size))
    for product in products:
        end = product.shape[1]
        start = end - len(product)
        matrix[start:end, :end], matrix[:end, start:end] = product, product.T
    return np.clip(matrix, -1, 1)


def _blocks(rows: Iterable[Float[np.ndarray, "edge"]]) -> Iterator[Float[np.ndarray, "row edge"]]:
    left = iter(rows)
    while block := list(islice(left, _ROWS)):
        yield np.stack(block)


def _unit_ranks(values: Float[np.ndarray, "edge"]) -> Float[np.ndarray, "edge"]:
    """Return the ranks, centred and scaled to length 1; NaN if all are the same."""
    ranks = _ranks(values)
    ranks -= ranks.mean()
    with np.errstate(invalid="ignore"):
        return ranks / np.linalg.norm(ranks)


def _ranks(values: Float[np.ndarray, "edge"]) -> Float[np.ndarray, "edge"]:
    """Return ranks from 1 with ties averaged, like scipy's but four times as fast."""
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(values)]
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((starts + 1 + ends) / 2, ends - starts)
    return ranks
