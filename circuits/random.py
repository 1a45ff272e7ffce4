"""Random connected circuits: the null model with which a discovered circuit is compared.

A uniform random edge set is almost always disconnected, which makes it a weak null model. Here whole paths from `input`
to `logits` are added until the size is reached (Shi et al. 2024).
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .circuit import Circuit
from .graph import ComputationGraph

_TRIES = 64


def random_circuit(graph: ComputationGraph, n_edges: int, *, seed: int) -> Circuit:
    """Return a random circuit of at most `n_edges` edges, all on paths from `input` to `logits`.

    Each path goes through one uniformly drawn edge and is completed in both directions by uniform random edges. When no
    more path fits, single edges between nodes of the circuit are added. The result is at most one edge short of
    `n_edges`, and only if no single edge is left.

    Raises:
        InputError: `n_edges` is not between 1 and the number of edges.

    Examples:
        >>> random_circuit(graph, 24, seed=0)
        Circuit(24 of 479 edges, ...)
    """
    if not 1 <= n_edges <= graph.n_edges:
        raise InputError(f"random circuit: expected a size from 1 to {graph.n_edges}, got {n_edges}")
    rng = np.random.default_rng(seed)
    paths = RandomPaths(graph, rng)
    chosen: dict[int, None] = {}
    misses = 0
    while len(chosen) < n_edges and misses < _TRIES:
        path = [e for e in paths.through(int(rng.integers(graph.n_edges))) if e not in chosen]
        if not path or len(chosen) + len(path) > n_edges:
            misses += 1
            continue
        chosen.update(dict.fromkeys(path))
        misses = 0
    order = np.array([*chosen, *_fill(graph, list(chosen), n_edges - len(chosen), rng)], dtype=int)
    return Circuit.pruned(graph, order, size_requested=n_edges, extraction=f"random(n={n_edges}, seed={seed})")


def uniform_circuit(graph: ComputationGraph, n_edges: int, *, seed: int) -> Circuit:
    """Return `n_edges` uniformly drawn edges after pruning: a weak null model, since few or none of them are connected.

    Raises:
        InputError: `n_edges` is not between 0 and the number of edges.

    Examples:
        >>> uniform_circuit(graph, 24, seed=0)
        Circuit(...)
    """
    if not 0 <= n_edges <= graph.n_edges:
        raise InputError(f"uniform circuit: expected a size from 0 to {graph.n_edges}, got {n_edges}")
    order = np.random.default_rng(seed).permutation(graph.n_edges)[:n_edges]
    return Circuit.pruned(graph, order, size_requested=n_edges, extraction=f"uniform(n={n_edges}, seed={seed})")


def _fill(graph: ComputationGraph, chosen: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """Return up to `count` more edges between nodes of `chosen`, `input` and `logits`."""
    members = np.zeros(graph.n_edges, bool)
    members[chosen] = True
    alive = graph.reachable(members)
    alive[[0, -1]] = True
    fitting = alive[graph.sender_node[graph.edge_sender]] & alive[graph.receiver_node[graph.edge_receiver]]
    return rng.permutation(np.flatnonzero(fitting & ~members))[:count].tolist()


class RandomPaths:
    """Draws paths from `input` to `logits`, following structural links."""

    def __init__(self, graph: ComputationGraph, rng: np.random.Generator) -> None:
        self.rng, self.last = rng, len(graph.components) - 1
        sender, receiver = graph.sender_node[graph.edge_sender], graph.receiver_node[graph.edge_receiver]
        self.sender: list[int] = sender.tolist()  # lists are faster for single reads
        self.receiver: list[int] = receiver.tolist()
        n = len(graph.components)
        self.into = [np.flatnonzero(receiver == node).tolist() for node in range(n)]
        self.out_of = [np.flatnonzero(sender == node).tolist() for node in range(n)]
        links = [(graph.node_index[a], graph.node_index[b]) for a, b in graph.structural_links]
        self.above = {b: a for a, b in links}
        self.below: dict[int, list[int]] = {}
        for a, b in links:
            self.below.setdefault(a, []).append(b)

    def through(self, edge: int) -> list[int]:
        """Return the flat indices of a path through an edge, completed in both directions by uniform random edges."""
        path = [edge]
        node = self.sender[edge]
        while node != 0:
            path.append(self._one_of(self.into[self.above.get(node, node)]))
            node = self.sender[path[-1]]
        node = self.receiver[edge]
        while node != self.last:
            if node in self.below:
                node = self._one_of(self.below[node])
            path.append(self._one_of(self.out_of[node]))
            node = self.receiver[path[-1]]
        return path

    def _one_of(self, choices: list[int]) -> int:
        """Draw like `Generator.choice`, but much faster."""
        return choices[int(self.rng.integers(len(choices)))]
