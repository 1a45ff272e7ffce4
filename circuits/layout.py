"""Positions of a graph's nodes and edges in a drawing, in pixels, from left to right in the order of computation.

A column holds nodes that can be computed at the same time: `input`, then per layer the heads and the MLP, and finally
`logits`. So every edge points to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from .graph import Component, ComputationGraph

NODE = (36.0, 24.0)
"""Width and height of a node's box."""

PORT_OFFSET = {"q": -7.0, "k": 0.0, "v": 7.0, "": 0.0}
"""Vertical distance from the middle of the receiver to the end of an edge, by port."""

TOP, LEFT = 40.0, 46.0


@dataclass(frozen=True)
class Layout:
    """Positions of a graph's nodes, in pixels; x increases with the order of computation."""

    graph: ComputationGraph

    @cached_property
    def columns(self) -> Int[np.ndarray, "node"]:
        """Column of each node: equal for nodes that cannot feed each other, otherwise in order."""
        columns, last, at = [], None, -1
        for component in self.graph.components:
            group = (component.kind, component.layer)
            at += group != last
            columns.append(at)
            last = group
        return np.array(columns)

    @property
    def rows(self) -> int:
        """Rows of the upper part: the heads of a layer."""
        return 1 if self.graph.form == "block" else self.graph.n_heads

    @property
    def row(self) -> float:
        """Vertical distance between heads: wide if there are few."""
        return float(np.clip(300 / self.rows, 34, 52))

    @cached_property
    def pitch(self) -> float:
        """Horizontal distance between columns: wide in shallow models, narrow in deep ones."""
        return float(np.clip(1120 / (self.columns[-1] + 1), 54, 96))

    @property
    def x(self) -> Float[np.ndarray, "node"]:
        return LEFT + self.pitch * self.columns

    @cached_property
    def y(self) -> Float[np.ndarray, "node"]:
        """Heads by number from the top, MLPs in a separate row below, `input` and `logits` in the middle."""
        return np.array([TOP + self.row * (0.5 + self._row(c)) for c in self.graph.components])

    def _row(self, component: Component) -> float:
        match component.kind:
            case "head":
                return float(component.head or 0)
            case "mlp":
                return self.rows + 0.4
            case "input" | "logits":
                return (self.rows + 0.4) / 2
            case _:
                return (self.rows - 1) / 2

    @property
    def width(self) -> float:
        return float(self.x[-1] + LEFT)

    @property
    def body(self) -> float:
        """Bottom of the drawing, below the arcs under the MLPs."""
        return TOP + self.row * (self.rows + 1.4) + 9 * float(np.sqrt(self.columns[-1]))


def curve(layout: Layout, sender: int, receiver: int, offset: float) -> str:
    """Return the path from the right side of the sender to the left side of the receiver.

    Long edges in one row bow out, under the MLPs or over the heads, to avoid the nodes between.
    """
    half = NODE[0] / 2
    x0, y0 = layout.x[sender] + half, layout.y[sender]
    x1, y1 = layout.x[receiver] - half, layout.y[receiver] + offset
    span = int(layout.columns[receiver] - layout.columns[sender])
    bow = np.sqrt(span - 1) * _bow(layout, y0, y1)
    reach = max(0.45 * (x1 - x0), 6.0)
    return f"M{x0:.0f} {y0:.0f}C{x0 + reach:.0f} {y0 + bow:.0f} {x1 - reach:.0f} {y1 + bow:.0f} {x1:.0f} {y1:.0f}"


def _bow(layout: Layout, y0: float, y1: float) -> float:
    """Return by how many pixels an edge that skips one column is bent; less, the steeper it is."""
    middle = TOP + layout.row * (0.5 + (layout.rows + 0.4) / 2)
    flatness = max(0.0, 1 - abs(y1 - y0) / (3 * layout.row))
    return (12.0 if (y0 + y1) / 2 >= middle else -7.0) * flatness
