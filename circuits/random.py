"""Random connected circuits: the null that a found circuit is held against.

A uniform random edge set is nearly always disconnected and therefore far too easy to beat; here
whole paths from `input` to `logits` are added until the size is reached (Shi et al. 2024).
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .circuit import Circuit
from .graph import ComputationGraph

_TRIES = 64


def random_circuit(graph: ComputationGraph, n_edges: int, *, seed: int) -> Circuit:
    """A random circuit of at most `n_edges` edges, all on input-to-logits paths.

    Each path runs through one edge drawn uniformly, completed upward and downward by uniform random
    edges. When no path fits any more, single edges between nodes of the circuit fill it up, so the
    size misses `n_edges` by one edge at most, and only where no single edge is left.

    Raises:
        InputError: `n_edges` is not between 1 and the number of edges.
    """
    if not 1 <= n_edges <= graph.n_edges:
        raise InputError(f"random circuit: expected a size from 1 to {graph.n_edges}, got {n_edges}")
    rng = np.random.default_rng(seed)
    walk = _Walk(graph, rng)
    chosen: dict[int, None] = {}
    misses = 0
    while len(chosen) < n_edges and misses < _TRIES:
        path = [e for e in walk.path() if e not in chosen]
        if not path or len(chosen) + len(path) > n_edges:
            misses += 1
            continue
        chosen.update(dict.fromkeys(path))
        misses = 0
    order = np.array([*chosen, *_fill(graph, list(chosen), n_edges - len(chosen), rng)], dtype=int)
    return Circuit.pruned(graph, order, size_requested=n_edges, extraction=f"random(n={n_edges}, seed={seed})")


def _fill(graph: ComputationGraph, chosen: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """Up to `count` further edges between nodes that `chosen` already joins to `input` and `logits`."""
    members = np.zeros(graph.n_edges, bool)
    members[chosen] = True
    alive = graph.reachable(members)
    alive[[0, -1]] = True
    fitting = alive[graph.sender_node[graph.edge_sender]] & alive[graph.receiver_node[graph.edge_receiver]]
    return rng.permutation(np.flatnonzero(fitting & ~members))[:count].tolist()


class _Walk:
    """Draws paths: edges into and out of each node, structural links followed."""

    def __init__(self, graph: ComputationGraph, rng: np.random.Generator) -> None:
        self.rng, self.graph = rng, graph
        self.sender = graph.sender_node[graph.edge_sender]
        self.receiver = graph.receiver_node[graph.edge_receiver]
        n = len(graph.components)
        self.into = [np.flatnonzero(self.receiver == node) for node in range(n)]
        self.out_of = [np.flatnonzero(self.sender == node) for node in range(n)]
        links = [(graph.node_index[a], graph.node_index[b]) for a, b in graph.structural_links]
        self.above = {b: a for a, b in links}
        self.below: dict[int, list[int]] = {}
        for a, b in links:
            self.below.setdefault(a, []).append(b)

    def path(self) -> list[int]:
        edge = int(self.rng.integers(self.graph.n_edges))
        path = [edge]
        node = int(self.sender[edge])
        while node != 0:
            up = int(self.rng.choice(self.into[self.above.get(node, node)]))
            path.append(up)
            node = int(self.sender[up])
        node = int(self.receiver[edge])
        while node != len(self.graph.components) - 1:
            if node in self.below:
                node = int(self.rng.choice(self.below[node]))
            down = int(self.rng.choice(self.out_of[node]))
            path.append(down)
            node = int(self.receiver[down])
        return path
