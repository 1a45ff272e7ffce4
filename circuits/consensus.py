"""What circuits share and what is specific to some of them: consensus circuits, enrichment, use of components."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import InputError
from .circuit import Circuit
from .similarity import check_same_universe


def consensus(circuits: Sequence[Circuit], share: float = 1.0) -> Circuit:
    """Return the edges that are in at least this share of the circuits, pruned.

    The first edges are in the most circuits, and of these have the smallest mean rank.

    Args:
        circuits: at least one, over the same universe.
        share: smallest share of the circuits, above 0.

    Raises:
        InputError: there is no circuit, or the share is not in (0, 1].
        NotComparable: the universes differ.

    Examples:
        >>> consensus([scores.top(24), scores.greedy(24)])
        Circuit(... of 479 edges, ...)
    """
    if not circuits or not 0 < share <= 1:
        raise InputError(f"consensus: expected circuits and a share in (0, 1], got {len(circuits)} and {share}")
    for circuit in circuits[1:]:
        check_same_universe(circuits[0].universe, circuit.universe)
    counts = np.sum([c.members for c in circuits], axis=0)
    order = np.lexsort([mean_ranks(circuits), -counts])
    enough = order[counts[order] >= max(1, share * len(circuits) - 1e-9)]
    text = f"consensus(of={len(circuits)}, share={share!r})"
    return Circuit.pruned(circuits[0].universe, enough, size_requested=len(enough), extraction=text)


def mean_ranks(circuits: Sequence[Circuit]) -> Float[np.ndarray, "edge"]:
    """Return the mean rank of each edge (1 = first) over the circuits that have it; NaN if none has it.

    Examples:
        >>> float(np.nanmin(mean_ranks([scores.top(24), scores.greedy(24)])))
        1...
    """
    total, count = np.zeros((2, circuits[0].universe.n_edges))
    for circuit in circuits:
        total[circuit.order] += np.arange(1, circuit.n_edges + 1)
        count += circuit.members
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def enrichment(
    members: Bool[np.ndarray, "circuit edge"], group: Bool[np.ndarray, "circuit"]
) -> tuple[Float[np.ndarray, "edge"], Float[np.ndarray, "edge"]]:
    """Return how much more often the circuits of a group have each edge than the others do.

    Args:
        members: the edges of all circuits.
        group: which circuits are in the group; some, not all.

    Returns:
        The log2 ratio of the shares in the group and outside, with half a circuit added to each count; and the
        hypergeometric p-value of at least as many circuits of the group with the edge.

    Raises:
        InputError: the group has no circuits, or all.

    Examples:
        >>> members = np.array([[1, 1], [1, 1], [0, 1], [0, 1]], bool)
        >>> ratio, p = enrichment(members, np.array([True, True, False, False]))
        >>> ratio.round(2), p.round(2)
        (array([2.32, 0.  ]), array([0.17, 1.  ]))
    """
    from scipy import stats

    n, n_all = int(group.sum()), len(group)
    if not 0 < n < n_all:
        raise InputError(f"enrichment: expected circuits in the group and outside it, got {n} of {n_all} in it")
    inside: Int[np.ndarray, "edge"] = members[group].sum(axis=0)
    total = members.sum(axis=0)
    shares = (inside + 0.5) / (n + 1), (total - inside + 0.5) / (n_all - n + 1)
    return np.log2(shares[0] / shares[1]), stats.hypergeom.sf(inside - 1, n_all, total, n)


def component_usage(circuit: Circuit) -> Float[np.ndarray, "node"]:
    """Return the share of the ends of the circuit's edges at each node of its universe; the sum is 1 if it has edges.

    Examples:
        >>> usage = component_usage(circuit)
        >>> round(float(usage.sum()), 6)
        1.0
    """
    edges, size = circuit.universe.edges, len(circuit.universe.components)
    ends = np.concatenate([edges.sender[circuit.members], edges.receiver[circuit.members]])
    return np.bincount(ends, minlength=size) / max(1, len(ends))
