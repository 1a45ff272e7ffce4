"""Conservation laws of scores: what they sum to in the limit of many steps, and the residual.

With the plain gradient, the edges of each of these sets sum to the metric's difference m(x) − m(x'):

- `input`: the edges out of `input`;
- `cuts`: the edges across any cut of the graph, between two components, or with some heads of a layer before the cut
  and the others behind it; so what enters a head also leaves it;
- `edges`: all edges.

With `nodes`, the edges out of each node sum to the effect of exact patching of that node.
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
"""Share of the metric's difference above which a residual is reported."""


@dataclass(frozen=True)
class Residual:
    """The sum with the largest deviation from its expected value; in units of the metric, means over images.

    Attributes:
        actual: the sum.
        expected: its expected value.
        gap: the metric's difference between clean and corrupted images.
        error: standard error of the gap over images; 0 for one image.
    """

    actual: float
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
        """Return the residual of mean scores.

        Args:
            differences: the metric's difference per image.
            patches: mean effect of exact patching of each node, for `nodes`; a layer's heads are one node or several.
        """
        separate = patches is not None and len(patches) == graph.n_senders
        actual = _sums(graph, conserves, scores, separate_heads=separate)
        expected = np.full(len(actual), differences.mean()) if patches is None else patches
        worst = int(np.abs(actual - expected).argmax())
        return cls.between(float(actual[worst]), float(expected[worst]), differences)

    @classmethod
    def between(cls, actual: float, expected: float, differences: Float[np.ndarray, "image"]) -> Residual:
        """Return the residual of a single sum."""
        n = len(differences)
        error = float(differences.std(ddof=1) / n**0.5) if n > 1 else 0.0
        return cls(actual, expected, float(differences.mean()), error)

    @property
    def absolute(self) -> float:
        """Size of the residual in units of the metric."""
        return abs(self.actual - self.expected)

    @property
    def relative(self) -> float | None:
        """Size of the residual as a share of the gap; None if the gap is zero or under three standard errors."""
        defined = self.gap != 0 and abs(self.gap) >= MIN_STANDARD_ERRORS * self.error
        return self.absolute / abs(self.gap) if defined else None

    def within(self, tolerance: float) -> bool:
        """Return whether the residual is at most this share of the gap, or of three standard errors if that is more."""
        return self.absolute <= tolerance * max(abs(self.gap), MIN_STANDARD_ERRORS * self.error)


def _sums(
    graph: ComputationGraph, conserves: Conserved, scores: Float[np.ndarray, "edge"], separate_heads: bool
) -> Float[np.ndarray, "sum"]:
    """Return the sums that are conserved; `separate_heads` makes each head of a layer its own node."""
    match conserves:
        case "edges":
            return scores.sum(keepdims=True)
        case "nodes":
            node = np.arange(graph.n_senders) if separate_heads else graph.sender_depth
            return np.bincount(node[graph.edge_sender], scores)
        case "input":
            return _across(graph, scores)[:1]
        case "cuts":
            between = _across(graph, scores)
            return np.concatenate([between, *_inside(graph, scores, between)])


def _across(graph: ComputationGraph, scores: Float[np.ndarray, "edge"]) -> Float[np.ndarray, "cut"]:
    """Return the sum across each cut between components, from behind `input` to before `logits`."""
    cut = np.arange(2 * graph.n_layers + 1)[:, None]
    crosses = (graph.sender_depth[graph.edge_sender] <= cut) & (cut < graph.receiver_depth[graph.edge_receiver])
    return crosses @ scores


def _inside(
    graph: ComputationGraph, scores: Float[np.ndarray, "edge"], between: Float[np.ndarray, "cut"]
) -> list[Float[np.ndarray, "2"]]:
    """Return the two most extreme sums over cuts inside each layer, if heads are separate receivers.

    Moving a head from behind the cut to before it adds its outflow minus its inflow. So the sum is largest with all
    heads before the cut for which that is positive, and smallest with all heads for which it is negative.
    """
    if graph.form not in ("split", "head"):  # the inflow of a single head is undefined
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
