"""Controls of an edit on edges: as many random edges, anywhere or outside of a circuit."""

from __future__ import annotations

import numpy as np

from ...circuits import Circuit, ComputationGraph
from ...errors import InputError


def random_edges(graph: ComputationGraph, n: int, *, seed: int, outside: Circuit | None = None) -> tuple[str, ...]:
    """Return names of different random edges, uniformly drawn.

    They need not be connected, since an edit on edges acts on each by itself. For random connected circuits, see
    `random_circuit`; for random directions on the same edges, `Directions.random`.

    Args:
        graph: the graph.
        n: number of edges.
        seed: seed of the draw.
        outside: a circuit whose edges are not drawn.

    Raises:
        InputError: a circuit of another graph, or `n` is not between 1 and the number of edges to draw from.

    Examples:
        >>> drawn = random_edges(graph, circuit.n_edges, seed=0, outside=circuit)
        >>> len(drawn), set(drawn) & set(circuit.edges)
        (45, set())
    """
    if outside is not None and outside.universe != graph:
        raise InputError(f"outside: expected a circuit over {graph}, got one over {outside.universe}")
    free = np.arange(graph.n_edges) if outside is None else np.flatnonzero(~outside.members)
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= len(free):
        raise InputError(f"n: expected a whole number from 1 to {len(free)}, the edges to draw from, got {n!r}")
    drawn = np.sort(np.random.default_rng(seed).permutation(free)[:n])
    return tuple(graph.edge_names[edge] for edge in drawn)
