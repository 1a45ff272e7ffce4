"""Comparison of circuits of different forms: two circuits are compared in the coarser of their forms.

A circuit of the finer form has an edge of the coarser form if it has at least one of the edges that make it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Bool, Int

from ..circuits import FORMS, ComputationGraph, Universe
from ..circuits.similarity import common_edges
from ..errors import NotComparable
from .measures import Circuits, Matrix, Measure


def coarseness(universe: Universe) -> int:
    """Return 0 for the finest form and for a universe without forms, more for coarser ones."""
    return FORMS.index(universe.form) if isinstance(universe, ComputationGraph) else 0


def graphs_of(universes: Sequence[Universe]) -> list[ComputationGraph]:
    """Return universes as the computation graphs that they are.

    Raises:
        NotComparable: one is another universe, whose edges no form has.
    """
    graphs = [universe for universe in universes if isinstance(universe, ComputationGraph)]
    if len(graphs) < len(universes):
        others = dict.fromkeys(universe.text for universe in universes if not isinstance(universe, ComputationGraph))
        raise NotComparable(
            f"circuits over {', '.join(others)} have no edges in common with others; choose forms of the computation "
            f'graph: form=["{FORMS[0]}", "{FORMS[1]}"]; the query path-and-circuit compares a neuron path '
            "with a circuit of edges by component"
        )
    return graphs


def projected(
    graph: ComputationGraph, members: Bool[np.ndarray, "edge"], target: ComputationGraph
) -> Bool[np.ndarray, "coarser_edge"]:
    """Project the member edges of a circuit to a coarser form of the graph."""
    found = np.zeros(target.n_edges, bool)
    found[graph.projection(target.form)[members]] = True
    return found


def across_forms(
    graphs: Sequence[ComputationGraph], members: Sequence[Bool[np.ndarray, "_"]], measure: Measure
) -> tuple[Matrix, Int[np.ndarray, "circuit circuit"], Int[np.ndarray, "circuit circuit"]]:
    """Compute a measure of edge sets for all pairs of circuits of one model.

    Returns:
        The measure; the number of edges of the first circuit of each pair, in the form of the pair; the number of edges
        in both.
    """
    values = np.ones((len(graphs), len(graphs)))
    counted, common = (np.zeros(values.shape, int) for _ in range(2))
    for i, j in combinations_with_replacement(range(len(graphs)), 2):
        target = max(graphs[i], graphs[j], key=coarseness)
        both = np.stack([projected(graphs[k], members[k], target) for k in (i, j)])
        shared = common_edges(both)
        values[i, j] = values[j, i] = measure.matrix(Circuits(target, both, []))[0, 1]
        common[i, j] = common[j, i] = shared[0, 1]
        counted[i, j], counted[j, i] = shared[0, 0], shared[1, 1]
    return values, counted, common
