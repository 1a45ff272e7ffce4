"""From scores to circuits: an order in which edges join, and how far to follow it.

Ties are broken by flat index, so the same scores always give the same circuit.
"""

from __future__ import annotations

import heapq
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError, unknown
from .circuit import Circuit, Scored
from .graph import ComputationGraph

How = Literal["top", "greedy"]


def joining_order(
    graph: ComputationGraph,
    scores: Float[np.ndarray, "edge"],
    how: How,
    *,
    absolute: bool = False,
    limit: int | None = None,
) -> Int[np.ndarray, "joined"]:
    """The first `limit` (None: all) flat edge indices in the order in which they join a circuit, before pruning.

    `top`: by score. `greedy` (EAP-IG's `apply_greedy`): start with the edges into `logits`; take the
    best on offer; when its sender is new, offer the edges into it. Sizes are prefixes of one order.
    """
    value = np.abs(scores) if absolute else scores
    match how:
        case "top":
            return np.argsort(-value, kind="stable")[:limit]
        case "greedy":
            return _greedy_order(graph, value, graph.n_edges if limit is None else limit)
        case _:
            raise unknown("order", how, ("top", "greedy"))


def _greedy_order(graph: ComputationGraph, value: np.ndarray, limit: int) -> np.ndarray:
    """A heap of each offered receiver's best remaining edge; a receiver's edges are sorted when it is offered."""
    reads: dict[int, list[int]] = {}  # node -> its receivers
    for receiver, node in enumerate(graph.receiver_node):
        reads.setdefault(int(node), []).append(receiver)
    above = {graph.node_index[below]: graph.node_index[over] for over, below in graph.structural_links}
    sender_node = graph.sender_node.tolist()

    order: list[int] = []
    heap: list[tuple[float, int, int, int]] = []  # (-value, edge, receiver, position)
    queues: dict[int, list[int]] = {}  # receiver -> senders, best first
    offered: set[int] = set()

    def offer(node: int) -> None:
        node = above.get(node, node)
        if node in offered:
            return
        offered.add(node)
        for receiver in reads.get(node, ()):
            lo, hi = graph.offsets[receiver : receiver + 2]
            queues[receiver] = np.argsort(-value[lo:hi], kind="stable").tolist()
            push(receiver, 0)

    def push(receiver: int, position: int) -> None:
        if position < len(queues[receiver]):
            edge = int(graph.offsets[receiver]) + queues[receiver][position]
            heapq.heappush(heap, (-float(value[edge]), edge, receiver, position))

    offer(graph.node_index["logits"])
    while heap and len(order) < limit:
        _, edge, receiver, position = heapq.heappop(heap)
        order.append(edge)
        push(receiver, position + 1)
        offer(sender_node[queues[receiver][position]])
    return np.array(order, dtype=int)


def refuse_shares(extraction: str) -> InputError:
    """The error of an extraction that orders edges of different receivers, for scores that are shares of a receiver."""
    return InputError(
        f"{extraction}: these scores are shares of what each receiver reads, and the larger of two shares at "
        "different receivers is not the more important one; grow the circuit from logits (greedy; in a spec edges "
        "or retention), or keep what reaches a share (threshold)"
    )


def edge_count(graph: ComputationGraph, n: int | float) -> int:
    """A count as it is, a fraction (float in (0, 1]) of all edges rounded to the nearest count.

    Raises:
        InputError: neither.
    """
    if isinstance(n, float | np.floating):
        if not 0 < n <= 1:
            raise InputError(f"size: a fraction lies in (0, 1], got {n}; give a whole number for a count of edges")
        return round(n * graph.n_edges)
    if not 0 <= n <= graph.n_edges:
        raise InputError(f"size: expected 0 to {graph.n_edges} edges of the {graph.form} form, got {n}")
    return int(n)


def first(scores: Scored, n: int | float, how: How, *, absolute: bool = False) -> Circuit:
    """The first `n` edges of the joining order, pruned."""
    size = edge_count(scores.graph, n)
    if scores.shares and how == "top":
        raise refuse_shares(how)
    order = joining_order(scores.graph, scores.mean, how, absolute=absolute, limit=size)
    text = f"{how}(n={size}{', absolute' if absolute else ''})"
    return Circuit.pruned(scores.graph, order, size_requested=size, extraction=text, scores=scores)


def top(scores: Scored, n: int | float, *, absolute: bool = False) -> Circuit:
    """The `n` best edges, pruned. Refused for scores that are shares."""
    return first(scores, n, "top", absolute=absolute)


def greedy(scores: Scored, n: int | float, *, absolute: bool = False) -> Circuit:
    """`n` edges grown from `logits` upward, pruned."""
    return first(scores, n, "greedy", absolute=absolute)


def connected(scores: Scored, n: int | float, *, absolute: bool = False) -> Circuit:
    """The `n` best edges, and for those on no path from `input` to `logits` the edges that join them to both.

    None of the `n` is pruned, and none of the added edges can be left out without one of the `n` losing its path.
    `size_requested` is n, before edges were added.
    """
    size = edge_count(scores.graph, n)
    if scores.shares:
        raise refuse_shares("connected")
    order = joining_order(scores.graph, scores.mean, "top", absolute=absolute, limit=size)
    value = np.abs(scores.mean) if absolute else scores.mean
    order = np.concatenate([order, _joining(scores.graph, order, value)])
    text = f"connected(n={size}{', absolute' if absolute else ''})"
    return Circuit.pruned(scores.graph, order, size_requested=size, extraction=text, scores=scores)


def _joining(graph: ComputationGraph, chosen: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Edges that connect the chosen ones.

    The best one into each node that only has outputs, from the last node to the first, then the best one out of each
    node that only has inputs, from the first to the last; less those that others have made needless, the worst first.
    """
    above = np.arange(len(graph.components))
    for over, below in graph.structural_links:  # a head is fed by its layer's attention input, and counts as it
        above[graph.node_index[below]] = graph.node_index[over]
    sender, receiver = above[graph.sender_node[graph.edge_sender]], graph.receiver_node[graph.edge_receiver]
    added: list[int] = []

    def nodes(ends: np.ndarray) -> set[int]:
        return set(ends[np.concatenate([chosen, np.array(added, int)])].tolist())

    def join(ends: np.ndarray, node: int) -> None:
        edges = np.flatnonzero(ends == node)
        added.append(int(edges[np.argmax(value[edges])]))

    if not len(chosen):
        return chosen
    last = len(graph.components) - 1
    for node in range(last, 0, -1):
        if node not in nodes(receiver) and (node == last or node in nodes(sender)):
            join(receiver, node)
    for node in range(last):
        if node not in nodes(sender) and node in nodes(receiver):
            join(sender, node)
    return _needed(graph, chosen, np.array(added, int), value)


def _needed(graph: ComputationGraph, chosen: np.ndarray, added: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The added edges without any of which some chosen edge would be on no path, in their order.

    An edge that is needed once stays needed as others go, so that each is looked at once.
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
    """The edges that score (absolute: whose magnitude is) at least `t`, pruned."""
    if not np.isfinite(t):
        raise InputError(f"threshold: expected a finite number in units of the metric, got {t}")
    value = np.abs(scores.mean) if absolute else scores.mean
    order = joining_order(scores.graph, scores.mean, "top", absolute=absolute)
    order = order[value[order] >= t]
    text = f"threshold(t={float(t)!r}{', absolute' if absolute else ''})"
    return Circuit.pruned(scores.graph, order, size_requested=len(order), extraction=text, scores=scores)


def size_grid(n_edges: int, ratio: float = 1.25) -> list[int]:
    """1 … n_edges in geometric steps: each size is the last times `ratio`, rounded up, the last one all edges."""
    sizes = [1]
    while sizes[-1] < n_edges:
        sizes.append(min(n_edges, int(np.ceil(sizes[-1] * ratio))))
    return sizes
