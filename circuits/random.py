"""Random connected circuits: the null model with which a discovered circuit is compared.

A uniform random edge set is almost always disconnected, which makes it a weak null model. Here whole paths through the
universe (from `input` to `logits`) are added until the size is reached (Shi et al. 2024).
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .circuit import Circuit
from .universe import Universe

_TRIES = 64


def random_circuit(universe: Universe, n_edges: int, *, seed: int) -> Circuit:
    """Return a random circuit of at most `n_edges` edges, all on paths through the universe.

    Each path goes through one uniformly drawn edge and is completed in both directions by uniform random edges. When no
    more path fits, single edges between nodes of the circuit are added. The result is at most one edge short of
    `n_edges`, and only if no single edge is left.

    Raises:
        InputError: `n_edges` is not between 1 and the number of edges.

    Examples:
        >>> random_circuit(graph, 24, seed=0)
        Circuit(24 of 479 edges, ...)
    """
    if not 1 <= n_edges <= universe.n_edges:
        raise InputError(f"random circuit: expected a size from 1 to {universe.n_edges}, got {n_edges}")
    rng = np.random.default_rng(seed)
    paths = RandomPaths(universe, rng)
    chosen: dict[int, None] = {}
    misses = 0
    while len(chosen) < n_edges and misses < _TRIES:
        path = [e for e in paths.through(int(rng.integers(universe.n_edges))) if e not in chosen]
        if not path or len(chosen) + len(path) > n_edges:
            misses += 1
            continue
        chosen.update(dict.fromkeys(path))
        misses = 0
    order = np.array([*chosen, *_fill(universe, list(chosen), n_edges - len(chosen), rng)], dtype=int)
    return Circuit.pruned(universe, order, size_requested=n_edges, extraction=f"random(n={n_edges}, seed={seed})")


def uniform_circuit(universe: Universe, n_edges: int, *, seed: int) -> Circuit:
    """Return `n_edges` uniformly drawn edges after pruning: a weak null model, since few or none of them are connected.

    Raises:
        InputError: `n_edges` is not between 0 and the number of edges.

    Examples:
        >>> uniform_circuit(graph, 24, seed=0)
        Circuit(...)
    """
    if not 0 <= n_edges <= universe.n_edges:
        raise InputError(f"uniform circuit: expected a size from 0 to {universe.n_edges}, got {n_edges}")
    order = np.random.default_rng(seed).permutation(universe.n_edges)[:n_edges]
    return Circuit.pruned(universe, order, size_requested=n_edges, extraction=f"uniform(n={n_edges}, seed={seed})")


def _fill(universe: Universe, chosen: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """Return up to `count` more edges between nodes of `chosen` and the ends of paths."""
    members = np.zeros(universe.n_edges, bool)
    members[chosen] = True
    alive = universe.reachable(members)
    alive |= np.logical_or(*universe.ends)
    fitting = alive[universe.edges.sender] & alive[universe.edges.receiver]
    return rng.permutation(np.flatnonzero(fitting & ~members))[:count].tolist()


class RandomPaths:
    """Draws paths from end to end of a universe, following structural links."""

    def __init__(self, universe: Universe, rng: np.random.Generator) -> None:
        self.rng = rng
        sender, receiver = universe.edges.sender, universe.edges.receiver
        self.sender: list[int] = sender.tolist()  # lists are faster for single reads
        self.receiver: list[int] = receiver.tolist()
        n = len(universe.components)
        self.into = [np.flatnonzero(receiver == node).tolist() for node in range(n)]
        self.out_of = [np.flatnonzero(sender == node).tolist() for node in range(n)]
        links = list(zip(*(ends.tolist() for ends in universe.link_ends), strict=True))
        self.above = {b: a for a, b in links}
        self.below: dict[int, list[int]] = {}
        for a, b in links:
            self.below.setdefault(a, []).append(b)

    def through(self, edge: int) -> list[int]:
        """Return the flat indices of a path through an edge, completed in both directions by uniform random edges."""
        path = [edge]
        node = self.sender[edge]
        while into := self.into[self.above.get(node, node)]:
            path.append(self._one_of(into))
            node = self.sender[path[-1]]
        node = self.receiver[edge]
        while node in self.below or self.out_of[node]:
            if node in self.below:
                node = self._one_of(self.below[node])
            path.append(self._one_of(self.out_of[node]))
            node = self.receiver[path[-1]]
        return path

    def _one_of(self, choices: list[int]) -> int:
        """Draw like `Generator.choice`, but much faster."""
        return choices[int(self.rng.integers(len(choices)))]
