"""Positions of a graph's nodes and edges in a drawing, in pixels, from left to right in the order of computation.

A column holds nodes that can be computed at the same time: `input`, then per layer the heads and the MLP, and finally
`logits`. So every edge points to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .graph import Component, ComputationGraph

NODE = (36.0, 24.0)
"""Width and height of a node's box."""

PORT_OFFSET = {"q": -7.0, "k": 0.0, "v": 7.0, "": 0.0}
"""Vertical distance from the middle of the receiver to the end of an edge, by port."""

TOP, LEFT = 40.0, 46.0

REACH, MIN_REACH = 0.45, 6.0
"""Horizontal distance of a control point from its end of an edge: a share of the edge's width, and its least value."""


class Band(NamedTuple):
    """The columns of a layer, from `left` to `right`."""

    layer: int
    left: float
    right: float


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
    def bands(self) -> tuple[Band, ...]:
        """The place of each layer."""
        layers = np.array([-1 if c.layer is None else c.layer for c in self.graph.components])
        places = [self.x[layers == layer] for layer in range(self.graph.n_layers)]
        half = self.pitch / 2
        return tuple(Band(i, float(x.min() - half), float(x.max() + half)) for i, x in enumerate(places))

    @property
    def width(self) -> float:
        return float(self.x[-1] + LEFT)

    @property
    def body(self) -> float:
        """Bottom of the drawing, below the arcs under the MLPs."""
        return TOP + self.row * (self.rows + 1.4) + 9 * float(np.sqrt(self.columns[-1]))


@dataclass(frozen=True, eq=False)
class Curves:
    """Cubic curves from the right sides of senders to the left sides of receivers, in pixels.

    The control points are `(x0 + reach, y0 + bow)` and `(x1 - reach, y1 + bow)`. Long edges in one row bow out, under
    the MLPs or over the heads, to avoid the nodes between.

    Attributes:
        x0: start.
        y0: start.
        x1: end.
        y1: end.
        reach: horizontal distance of a control point from its end of the curve.
        bow: vertical distance, positive downward.
    """

    x0: Float[np.ndarray, "curve"]
    y0: Float[np.ndarray, "curve"]
    x1: Float[np.ndarray, "curve"]
    y1: Float[np.ndarray, "curve"]
    reach: Float[np.ndarray, "curve"]
    bow: Float[np.ndarray, "curve"]

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The `d` attributes of the curves' SVG paths, in whole pixels."""
        columns = (
            self.x0, self.y0, self.x0 + self.reach, self.y0 + self.bow, self.x1 - self.reach, self.y1 + self.bow,
            self.x1, self.y1,
        )  # fmt: skip
        return tuple(
            "M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}".format(*row)
            for row in zip(*columns, strict=True)
        )


def curves(
    layout: Layout,
    sender: Int[np.ndarray, "curve"],
    receiver: Int[np.ndarray, "curve"],
    port: Sequence[str],
) -> Curves:
    """Return the curves between nodes of a layout.

    Args:
        layout: positions of the nodes.
        sender: rows of the nodes where curves start.
        receiver: rows of the nodes where they end, in later columns.
        port: the port of each curve's end, as in `PORT_OFFSET`.

    Examples:
        >>> layout = Layout(ComputationGraph(1, 1, "block"))
        >>> curves(layout, np.array([0]), np.array([1]), [""]).paths
        ('M64 102C91 102 97 66 124 66',)
    """
    half = NODE[0] / 2
    x0, y0 = layout.x[sender] + half, layout.y[sender]
    x1, y1 = layout.x[receiver] - half, layout.y[receiver] + np.array([PORT_OFFSET[name] for name in port])
    span = layout.columns[receiver] - layout.columns[sender]
    return Curves(x0, y0, x1, y1, np.maximum(REACH * (x1 - x0), MIN_REACH), np.sqrt(span - 1) * _bow(layout, y0, y1))


def _bow(layout: Layout, y0: Float[np.ndarray, "curve"], y1: Float[np.ndarray, "curve"]) -> Float[np.ndarray, "curve"]:
    """Return by how many pixels an edge that skips one column is bent; less, the steeper it is."""
    middle = TOP + layout.row * (0.5 + (layout.rows + 0.4) / 2)
    flatness = np.maximum(0.0, 1 - np.abs(y1 - y0) / (3 * layout.row))
    return np.where((y0 + y1) / 2 >= middle, 12.0, -7.0) * flatness
