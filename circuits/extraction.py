"""Extraction of circuits from scores: an order in which edges join, cut at a size.

Ties are broken by flat index, so the same scores always give the same circuit.
"""

from __future__ import annotations

import heapq
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError, unknown
from .circuit import Circuit, Scored
from .graph import ComputationGraph, computation_graph
from .universe import Universe

Order = Literal["top", "greedy"]


def joining_order(
    universe: Universe,
    scores: Float[np.ndarray, "edge"],
    order: Order,
    *,
    absolute: bool = False,
    limit: int | None = None,
) -> Int[np.ndarray, "joined"]:
    """Return the first `limit` (None: all) flat edge indices in the order in which they join a circuit, before pruning.

    `top`: by score. `greedy` (EAP-IG's `apply_greedy`): start with the edges into the end of paths (`logits`);
    repeatedly take the best candidate, and when its sender is new, add the edges into it to the candidates. Smaller
    sizes are prefixes.

    Examples:
        >>> joining_order(ComputationGraph(1, 1, "block"), np.array([1.0, 3, 2, 0, 4, 5]), "greedy")
        array([5, 4, 1, 2, 0, 3])
    """
    value = np.abs(scores) if absolute else scores
    match order:
        case "top":
            return np.argsort(-value, kind="stable")[:limit]
        case "greedy":
            return _greedy_order(universe, value, universe.n_edges if limit is None else limit)
        case _:
            raise unknown("order", order, ("top", "greedy"))


def _greedy_order(universe: Universe, value: np.ndarray, limit: int) -> np.ndarray:
    """Return the greedy order, from a heap of the best remaining edge into each candidate node."""
    receivers = universe.edges.receiver
    by_receiver = np.argsort(receivers, kind="stable")
    into = np.searchsorted(receivers[by_receiver], np.arange(len(universe.components) + 1))
    above = dict(zip(*(ends.tolist() for ends in reversed(universe.link_ends)), strict=True))
    sender = universe.edges.sender.tolist()

    order: list[int] = []
    heap: list[tuple[float, int, int, int]] = []  # (-value, edge, node, position)
    queues: dict[int, list[int]] = {}  # node -> edges into it, best first

    def offer(node: int) -> None:
        node = above.get(node, node)
        if node in queues:
            return
        edges = by_receiver[into[node] : into[node + 1]]
        queues[node] = edges[np.argsort(-value[edges], kind="stable")].tolist()
        push(node, 0)

    def push(node: int, position: int) -> None:
        if position < len(queues[node]):
            edge = queues[node][position]
            heapq.heappush(heap, (-float(value[edge]), edge, node, position))

    for node in np.flatnonzero(universe.ends[1]).tolist():
        offer(node)
    while heap and len(order) < limit:
        _, edge, node, position = heapq.heappop(heap)
        order.append(edge)
        push(node, position + 1)
        offer(sender[edge])
    return np.array(order, dtype=int)


def shares_error(extraction: str) -> InputError:
    """Return the error for an extraction that ranks edges of different receivers, for scores that are shares.

    Examples:
        >>> shares_error("top")
        InputError('top: these scores are shares of what each receiver reads, ...')
    """
    return InputError(
        f"{extraction}: these scores are shares of what each receiver reads, and shares of different receivers cannot "
        "be ranked; grow the circuit from logits (greedy; in a spec edges or retention), or cut at a share (threshold)"
    )


def edge_count(universe: Universe, n: int | float) -> int:
    """Return a number of edges: a count, or a fraction (float in (0, 1]) of all edges rounded to the nearest count.

    Raises:
        InputError: neither.
    """
    if isinstance(n, float | np.floating):
        if not 0 < n <= 1:
            raise InputError(f"size: expected a fraction in (0, 1], got {n}; give an int for a number of edges")
        return round(n * universe.n_edges)
    if not 0 <= n <= universe.n_edges:
        raise InputError(f"size: expected 0 to {universe.n_edges} edges of the {universe.text}, got {n}")
    return int(n)


def _first(scores: Scored, n: int | float, order: Order, absolute: bool) -> Circuit:
    """Return the first `n` edges of the joining order, pruned."""
    size = edge_count(scores.universe, n)
    if scores.shares and order == "top":
        raise shares_error(order)
    joined = joining_order(scores.universe, scores.mean, order, absolute=absolute, limit=size)
    text = f"{order}(n={size}{', absolute' if absolute else ''})"
    return Circuit.pruned(scores.universe, joined, size_requested=size, extraction=text, scores=scores)


def top(scores: Scored, n: int | float, *, absolute: bool = False) -> Circuit:
    """Return the `n` best edges (a float in (0, 1] is a fraction), pruned.

    Raises:
        InputError: the scores are shares, which have no order over all edges.

    Examples:
        >>> top(scores, 0.05)
        Circuit(...)
    """
    return _first(scores, n, "top", absolute)


def greedy(scores: Scored, n: int | float, *, absolute: bool = False) -> Circuit:
    """Return `n` edges (a float in (0, 1] is a fraction) grown from `logits` upward, pruned.

    Examples:
        >>> greedy(scores, 24)
        Circuit(...)
    """
    return _first(scores, n, "greedy", absolute)


def connected(scores: Scored, n: int | float, *, absolute: bool = False) -> Circuit:
    """Return the `n` best edges, plus edges that put each of them on a path from `input` to `logits`.

    None of the `n` is pruned, and each added edge is needed for the path of one of them. `size_requested` is `n`,
    before edges were added.

    Raises:
        InputError: the scores are shares, which have no order over all edges, or are not over a computation graph.

    Examples:
        >>> circuit = connected(scores, 24)
        >>> circuit.n_edges >= circuit.size_requested == 24
        True
    """
    graph = computation_graph(scores.universe)
    size = edge_count(graph, n)
    if scores.shares:
        raise shares_error("connected")
    order = joining_order(graph, scores.mean, "top", absolute=absolute, limit=size)
    value = np.abs(scores.mean) if absolute else scores.mean
    order = np.concatenate([order, _connecting(graph, order, value)])
    text = f"connected(n={size}{', absolute' if absolute else ''})"
    return Circuit.pruned(graph, order, size_requested=size, extraction=text, scores=scores)


def _connecting(graph: ComputationGraph, chosen: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the edges that connect the chosen ones.

    First the best edge into each node with outputs only, from the last node to the first; then the best edge out of
    each node with inputs only, from the first to the last. Finally edges made unnecessary by others are dropped, worst
    first.
    """
    above = np.arange(len(graph.components))
    for over, below in graph.structural_links:  # a head reads through its layer's attention input
        above[graph.node_index[below]] = graph.node_index[over]
    sender, receiver = above[graph.edges.sender], graph.edges.receiver
    added: list[int] = []

    def nodes(ends: np.ndarray) -> set[int]:
        return set(ends[np.concatenate([chosen, np.array(added, int)])].tolist())

    def add_best(ends: np.ndarray, node: int) -> None:
        edges = np.flatnonzero(ends == node)
        added.append(int(edges[np.argmax(value[edges])]))

    if not len(chosen):
        return chosen
    last = len(graph.components) - 1
    for node in range(last, 0, -1):
        if node not in nodes(receiver) and (node == last or node in nodes(sender)):
            add_best(receiver, node)
    for node in range(last):
        if node not in nodes(sender) and node in nodes(receiver):
            add_best(sender, node)
    return _needed(graph, chosen, np.array(added, int), value)


def _needed(graph: ComputationGraph, chosen: np.ndarray, added: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the added edges without which some chosen edge would be on no path, in their order.

    An edge that is needed once stays needed as other edges are dropped, so each is checked once.
    """
    members = np.zeros(graph.n_edges, bool)
    members[np.concatenate([chosen, added])] = True
    for edge in sorted(set(added.tolist()), key=lambda edge: (value[edge], -edge)):
        fewer = members.copy()
        fewer[edge] = False
        fewer = graph.prune(fewer)
        if fewer[chosen].all():
            members = fewer
    return added[members[added]]


def threshold(scores: Scored, t: float, *, absolute: bool = False) -> Circuit:
    """Return the edges with a score (absolute: magnitude) of at least `t`, pruned.

    Examples:
        >>> threshold(scores, 0.1)
        Circuit(...)
    """
    if not np.isfinite(t):
        raise InputError(f"threshold: expected a finite number in units of the metric, got {t}")
    value = np.abs(scores.mean) if absolute else scores.mean
    order = joining_order(scores.universe, scores.mean, "top", absolute=absolute)
    order = order[value[order] >= t]
    text = f"threshold(t={float(t)!r}{', absolute' if absolute else ''})"
    return Circuit.pruned(scores.universe, order, size_requested=len(order), extraction=text, scores=scores)


def size_grid(n_edges: int, ratio: float = 1.25) -> list[int]:
    """Return sizes from 1 to n_edges in geometric steps: each is the previous one times `ratio`, rounded up.

    Examples:
        >>> size_grid(10, ratio=2)
        [1, 2, 4, 8, 10]
    """
    sizes = [1]
    while sizes[-1] < n_edges:
        sizes.append(min(n_edges, int(np.ceil(sizes[-1] * ratio))))
    return sizes
