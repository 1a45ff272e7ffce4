"""What scores sum to in the limit of many steps along a path, and how far from it they are.

With the plain gradient, the edges of one of these sets sum to what the metric differs by, m(x) − m(x'):

- `input`: the edges out of `input`;
- `cuts`: the edges across any cut of the graph, between two components or with some heads of a layer before it and the
  others behind it; so what enters a head leaves it;
- `edges`: all edges;

and with `nodes` the edges out of each node sum to the exact patch of this node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..circuits import ComputationGraph
from ..evaluation.evaluate import MIN_STANDARD_ERRORS

Conserved = Literal["input", "cuts", "edges", "nodes"]

RESIDUAL_LIMIT = 0.05
"""Share of the metric's difference from which on a residual is reported."""


@dataclass(frozen=True)
class Residual:
    """The sum that is furthest from what it should be; in units of the metric, means over images.

    Attributes:
        found: the sum.
        expected: what it should be.
        gap: what the metric differs by between clean and corrupted images.
        error: standard error of the gap over images; 0 for one image.
    """

    found: float
    expected: float
    gap: float
    error: float

    @classmethod
    def of(
        cls,
        graph: ComputationGraph,
        conserves: Conserved,
        scores: Float[np.ndarray, "edge"],
        differences: Float[np.ndarray, "image"],
        patches: Float[np.ndarray, "node"] | None = None,
    ) -> Residual:
        """Of mean scores, given what the metric differs by on each image.

        Args:
            patches: mean exact patch of each node, for `nodes`; the heads of a layer are one node or several.
        """
        found = _sums(graph, conserves, scores, apart=patches is not None and len(patches) == graph.n_senders)
        expected = np.full(len(found), differences.mean()) if patches is None else patches
        worst = int(np.abs(found - expected).argmax())
        return cls.between(float(found[worst]), float(expected[worst]), differences)

    @classmethod
    def between(cls, found: float, expected: float, differences: Float[np.ndarray, "image"]) -> Residual:
        """Of one sum."""
        n = len(differences)
        error = float(differences.std(ddof=1) / n**0.5) if n > 1 else 0.0
        return cls(found, expected, float(differences.mean()), error)

    @property
    def absolute(self) -> float:
        """How far off, in units of the metric."""
        return abs(self.found - self.expected)

    @property
    def relative(self) -> float | None:
        """How far off, as a share of the gap; None where the gap is zero or under three standard errors."""
        defined = self.gap != 0 and abs(self.gap) >= MIN_STANDARD_ERRORS * self.error
        return self.absolute / abs(self.gap) if defined else None

    def within(self, tolerance: float) -> bool:
        """Whether it is at most this share of the gap, or of the least gap that would be told from zero."""
        return self.absolute <= tolerance * max(abs(self.gap), MIN_STANDARD_ERRORS * self.error)


def _sums(
    graph: ComputationGraph, conserves: Conserved, scores: Float[np.ndarray, "edge"], apart: bool
) -> Float[np.ndarray, "sum"]:
    """`apart`: the heads of a layer are nodes of their own, else one."""
    match conserves:
        case "edges":
            return scores.sum(keepdims=True)
        case "nodes":
            node = np.arange(graph.n_senders) if apart else graph.sender_depth
            return np.bincount(node[graph.edge_sender], scores)
        case "input":
            return _across(graph, scores)[:1]
        case "cuts":
            between = _across(graph, scores)
            return np.concatenate([between, *_inside(graph, scores, between)])


def _across(graph: ComputationGraph, scores: Float[np.ndarray, "edge"]) -> Float[np.ndarray, "cut"]:
    """Across each cut between components, from that behind `input` to that before `logits`."""
    cut = np.arange(2 * graph.n_layers + 1)[:, None]
    crosses = (graph.sender_depth[graph.edge_sender] <= cut) & (cut < graph.receiver_depth[graph.edge_receiver])
    return crosses @ scores


def _inside(
    graph: ComputationGraph, scores: Float[np.ndarray, "edge"], between: Float[np.ndarray, "cut"]
) -> list[Float[np.ndarray, "2"]]:
    """Across the two cuts inside each layer that are furthest off, where heads read apart.

    A head that goes from behind a cut to before it adds its outflow less its inflow, so the furthest cuts have all
    heads before them for which that is positive, or all for which it is negative.
    """
    if graph.form not in ("split", "head"):  # else nobody tells what flows into a single head
        return []
    nodes = len(graph.components)
    outflow = np.bincount(graph.sender_node[graph.edge_sender], scores, nodes)
    inflow = np.bincount(graph.receiver_node[graph.edge_receiver], scores, nodes)
    cuts = []
    for layer in range(graph.n_layers):
        heads = [i for i, c in enumerate(graph.components) if c.kind == "head" and c.layer == layer]
        gained = (outflow - inflow)[heads]
        cuts.append(between[2 * layer] + np.array([gained.clip(min=0).sum(), gained.clip(max=0).sum()]))
    return cuts
