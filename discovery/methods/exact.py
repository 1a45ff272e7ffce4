"""Exact activation patching of every edge; definition and cost are in `evaluation.edges`.

Conmy et al. 2023, arXiv 2304.14997.
"""

from __future__ import annotations

import numpy as np

from ...circuits.recipe import DIRECTIONS
from ...evaluation.edges import FORWARDS_PER_EDGE, edge_effects
from ...evaluation.measured import MeasuredPairs
from ..method import NO_GRADIENT, Task
from ..scoring import BatchScores, per_image


def _exact(task: Task, batch: MeasuredPairs) -> BatchScores:
    every = np.arange(task.graph.n_edges)
    return BatchScores(*edge_effects(task.model, task.graph, batch, every, task.direction, task.batch_size))


EXACT = per_image(
    _exact,
    key="exact",
    name="Exact edge patching",
    source="Conmy et al. 2023, arXiv 2304.14997",
    passes=lambda graph: (2 + FORWARDS_PER_EDGE * graph.n_edges, 0),
    directions=DIRECTIONS,
    additive=False,
    lacks=NO_GRADIENT,
)
