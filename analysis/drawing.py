"""A circuit as a picture: layers from left to right, edges by score, written as SVG by hand.

A column holds what can run at the same time: `input`, then per layer the heads and behind them the
MLP, `logits` last. So every edge runs to the right, and a reader sees the order of computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
from jaxtyping import Float, Int

from ..circuits import PORTS, Circuit, Component, ComputationGraph

MOST_EDGES = 120
"""Edges drawn unless told otherwise: more than that is a felt, not a picture."""

KEY = "score: blue raises the metric, orange lowers it"

RAISES = ((158, 202, 225), (8, 69, 148))
"""Blue, pale to dark: the edge raises the metric."""
LOWERS = ((253, 190, 133), (150, 52, 4))
"""Orange, pale to dark: the edge lowers it. Blue against orange is told apart by all common colour visions."""
UNSCORED = "#64748b"
_WIDTHS = (0.7, 6.0)
_NODE = (36.0, 24.0)
_PORT_OFFSET = {"q": -7.0, "k": 0.0, "v": 7.0, "": 0.0}
_TOP, _LEFT, _FOOT = 40.0, 46.0, 62.0


def draw_circuit(
    circuit: Circuit,
    values: Float[np.ndarray, "edge"] | None = None,
    *,
    label: str = "",
    key: str = KEY,
    most: int = MOST_EDGES,
    scale: float | None = None,
) -> str:
    """The circuit as one `<svg>` element that needs nothing else.

    Args:
        circuit: what is drawn; nodes outside it stay as faint outlines.
        values: one number per edge of the graph, for width and colour; by default the circuit's own
            mean scores. Without either all edges look alike.
        label: what the picture shows, for those who cannot see it.
        key: what the numbers are and what the colours mean.
        most: at most so many edges are drawn, the largest magnitudes; the foot says how many are left out.
        scale: magnitude of the widest and darkest edge; by default the largest of this circuit. Give
            the same to pictures that are to be compared.
    """
    if values is None and circuit.scores is not None:
        values = circuit.scores.mean
    return _Picture(circuit, values, label, key, most, scale).svg()


@dataclass(frozen=True)
class Layout:
    """Where the nodes of a graph stand, in pixels; x grows with the order of computation."""

    graph: ComputationGraph

    @cached_property
    def columns(self) -> Int[np.ndarray, "node"]:
        """Column of each node: equal for nodes that cannot feed one another, else in order."""
        columns, last, at = [], None, -1
        for component in self.graph.components:
            group = (component.kind, component.layer)
            at += group != last
            columns.append(at)
            last = group
        return np.array(columns)

    @property
    def rows(self) -> int:
        """Rows of the upper lane: the heads of a layer."""
        return 1 if self.graph.form == "block" else self.graph.n_heads

    @property
    def row(self) -> float:
        """Distance between heads: wide where there are few."""
        return float(np.clip(300 / self.rows, 34, 52))

    @cached_property
    def pitch(self) -> float:
        """Distance between columns: wide in shallow models, narrower in deep ones."""
        return float(np.clip(1120 / (self.columns[-1] + 1), 54, 96))

    @property
    def x(self) -> Float[np.ndarray, "node"]:
        return _LEFT + self.pitch * self.columns

    @cached_property
    def y(self) -> Float[np.ndarray, "node"]:
        """Heads by number from the top, MLPs in a lane of their own below, ends in the middle."""
        return np.array([_TOP + self.row * (0.5 + self._row(c)) for c in self.graph.components])

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
        return float(self.x[-1] + _LEFT)

    @property
    def body(self) -> float:
        """Bottom of the drawing proper: below the arcs that run under the MLPs."""
        return _TOP + self.row * (self.rows + 1.4) + 9 * float(np.sqrt(self.columns[-1]))

    @property
    def height(self) -> float:
        return self.body + _FOOT


class _Picture:
    """Collects the elements of one drawing, back to front."""

    def __init__(
        self,
        circuit: Circuit,
        values: np.ndarray | None,
        label: str,
        key: str,
        most: int,
        scale: float | None,
    ) -> None:
        self.circuit, self.values, self.label, self.key = circuit, values, label, key
        self.layout = Layout(circuit.graph)
        self.shown = strongest(circuit, values, most)
        largest = 0.0 if values is None else float(np.abs(values[circuit.members]).max(initial=0.0))
        self.scale = (largest if scale is None else scale) or 1.0

    def svg(self) -> str:
        width, height = self.layout.width, self.layout.height
        alive = self._alive()
        faint = self._nodes(set(self.circuit.graph.node_names) - alive, on=False)
        parts = [*self._layers(), *faint, *self._links(), *self._edges(), *self._nodes(alive, on=True), *self._foot()]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f'aria-label="{escape(self._spoken())}" font-family="system-ui, sans-serif" font-size="11">'
            f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#ffffff"/>{"".join(parts)}</svg>'
        )

    def _alive(self) -> set[str]:
        """Nodes of the circuit; of an edge set that was not pruned, the ends of its edges as well."""
        edges = [self.circuit.graph.edge(int(i)) for i in np.flatnonzero(self.circuit.members)]
        return {*self.circuit.nodes, *(e.sender for e in edges), *(e.receiver for e in edges)}

    def _spoken(self) -> str:
        c = self.circuit
        what = f"{self.label}: " if self.label else ""
        best = self.shown[::-1][:3]
        names = ", ".join(c.graph.edge_names[i] for i in best)
        strongest_ones = f"; strongest: {names}" if names and self.values is not None else ""
        return f"{what}circuit of {c.n_edges} of {c.graph.n_edges} edges and {c.n_nodes} nodes{strongest_ones}"

    def _layers(self) -> list[str]:
        """A band and a heading per layer."""
        layout, graph = self.layout, self.circuit.graph
        layers = np.array([-1 if c.layer is None else c.layer for c in graph.components])
        parts = []
        for layer in range(graph.n_layers):
            x = layout.x[layers == layer]
            left, right = x.min() - layout.pitch / 2, x.max() + layout.pitch / 2
            if layer % 2 == 0:
                parts.append(
                    f'<rect x="{left:.0f}" y="0" width="{right - left:.0f}" height="{layout.body:.0f}" '
                    'rx="6" fill="#f4f6f9"/>'
                )
            name = f"layer {layer}" if right - left > 60 else str(layer)
            parts.append(f'<text x="{(left + right) / 2:.0f}" y="20" text-anchor="middle" fill="#64748b">{name}</text>')
        return parts

    def _links(self) -> list[str]:
        """Structural links between nodes of the circuit: dashed, for they have no score."""
        index, layout = self.circuit.graph.node_index, self.layout
        parts = []
        for above, below in self.circuit.links:
            path = _curve(layout, index[above], index[below], 0.0)
            parts.append(
                f'<path d="{path}" fill="none" stroke="#94a3b8" stroke-width="1" stroke-dasharray="3 3">'
                f"<title>{above} contains {below}</title></path>"
            )
        return parts

    def _edges(self) -> list[str]:
        """Member edges, weakest first, so that the strong ones lie on top."""
        return ['<g fill="none" stroke-linecap="round">', *(self._edge(i) for i in self.shown), "</g>"]

    def _edge(self, index: int) -> str:
        graph = self.circuit.graph
        edge = graph.edge(index)
        value = None if self.values is None else float(self.values[index])
        path = _curve(
            self.layout, graph.node_index[edge.sender], graph.node_index[edge.receiver], _PORT_OFFSET[edge.port]
        )
        told = "" if value is None else f" {value:+.4g}"
        return (
            f'<path d="{path}" {self._stroke(value)}><title>{escape(edge.name)}{told}, '
            f"rank {self.circuit.ranks[index]}</title></path>"
        )

    def _stroke(self, value: float | None) -> str:
        if value is None:
            return f'stroke="{UNSCORED}" stroke-width="1.2" stroke-opacity=".6"'
        strength = min(abs(value) / self.scale, 1.0)
        return (
            f'stroke="{edge_colour(value, self.scale)}" stroke-width="{edge_width(value, self.scale):.2f}" '
            f'stroke-opacity="{0.55 + 0.4 * strength:.2f}"'
        )

    def _nodes(self, names: set[str], *, on: bool) -> list[str]:
        """Boxes with the nodes' short names; faint when they are not part of the circuit."""
        graph, layout = self.circuit.graph, self.layout
        nodes = [n for n in zip(graph.components, layout.x, layout.y, strict=True) if n[0].name in names]
        line, ink = ("#475569", "#1f2937") if on else ("#dfe4ea", "#c3cad4")
        ports = self._ports([n for n in nodes if n[0].kind == "head"]) if on and graph.form == "split" else []
        return [
            f'<g fill="#ffffff" stroke="{line}">',
            *(_box(c, x, y, on=on) for c, x, y in nodes),
            "</g>",
            *ports,
            f'<g fill="{ink}" text-anchor="middle">',
            *(_name(c, x, y, on=on) for c, x, y in nodes),
            "</g>",
        ]

    def _ports(self, heads: list[tuple[Component, float, float]]) -> list[str]:
        """Dots at the left of the heads where q, k and v come in."""
        left = _NODE[0] / 2
        dots = "".join(f"M{x - left:.0f} {y + _PORT_OFFSET[port]:.0f}h0" for _, x, y in heads for port in PORTS)
        return [f'<path d="{dots}" stroke="#475569" stroke-width="3.4" stroke-linecap="round"/>'] if dots else []

    def _foot(self) -> list[str]:
        """What width and colour mean, and what is not drawn."""
        y, x = self.layout.body + 22, 16.0
        parts = []
        if self.values is not None:
            for value in self._samples():
                parts.append(f'<path d="M{x:.0f} {y:.0f}h26" {self._stroke(value)} stroke-linecap="round"/>')
                parts.append(f'<text x="{x + 32:.0f}" y="{y + 4:.0f}" fill="#475569">{value:+.2g}</text>')
                x += 84
            parts.append(f'<text x="{x:.0f}" y="{y + 4:.0f}" fill="#475569">{escape(self.key)}</text>')
        parts.append(f'<text x="16" y="{y + 26:.0f}" fill="#475569">{escape(self._told())}</text>')
        return parts

    def _samples(self) -> list[float]:
        """Values that the key shows: of the signs that are drawn."""
        drawn = np.zeros(0) if self.values is None else self.values[self.shown]
        signs = [sign for sign, met in ((-1, (drawn < 0).any()), (1, (drawn > 0).any())) if met]
        return [sign * share * self.scale for sign in signs for share in (0.3, 1.0)[::sign]]

    def _told(self) -> str:
        circuit = self.circuit
        graph = circuit.graph
        nodes = f"{len(self._alive())} of {len(graph.components)} nodes"
        text = f"{circuit.n_edges} of {graph.n_edges} edges, {nodes}"
        left_out = circuit.n_edges - len(self.shown)
        if left_out:
            text += f"; the {len(self.shown)} strongest are drawn, {left_out} weaker ones are left out"
        if graph.form == "split":
            text += "; edges enter a head as q, k, v from top to bottom"
        if circuit.links:
            text += "; dashed: a layer's input to its heads, always open"
        return text


def strongest(circuit: Circuit, values: Float[np.ndarray, "edge"] | None, most: int) -> list[int]:
    """Flat indices of the `most` member edges of the largest magnitude, weakest first; by rank without values."""
    index = np.flatnonzero(circuit.members)
    worth = -circuit.ranks[index].astype(float) if values is None else np.abs(values[index].astype(np.float64))
    order = np.lexsort((-index, worth))
    return [int(i) for i in index[order][max(0, len(index) - most) :]]


def edge_width(value: float, scale: float) -> float:
    """Stroke width in pixels: linear in the magnitude up to `scale`."""
    thin, wide = _WIDTHS
    return thin + (wide - thin) * min(abs(value) / scale, 1.0)


def edge_colour(value: float, scale: float) -> str:
    """Blue for what raises the metric, orange for what lowers it, darker with the magnitude."""
    pale, dark = RAISES if value > 0 else LOWERS
    share = min(abs(value) / scale, 1.0) ** 0.6
    mixed = (round(p + (d - p) * share) for p, d in zip(pale, dark, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _curve(layout: Layout, sender: int, receiver: int, offset: float) -> str:
    """From the right side of the sender to the left side of the receiver.

    Long edges between nodes of one lane bow out, under the MLPs or over the heads, lest they run
    through the nodes between.
    """
    half = _NODE[0] / 2
    x0, y0 = layout.x[sender] + half, layout.y[sender]
    x1, y1 = layout.x[receiver] - half, layout.y[receiver] + offset
    span = int(layout.columns[receiver] - layout.columns[sender])
    bow = np.sqrt(span - 1) * _bow(layout, y0, y1)
    reach = max(0.45 * (x1 - x0), 6.0)
    return f"M{x0:.0f} {y0:.0f}C{x0 + reach:.0f} {y0 + bow:.0f} {x1 - reach:.0f} {y1 + bow:.0f} {x1:.0f} {y1:.0f}"


def _bow(layout: Layout, y0: float, y1: float) -> float:
    """Pixels by which an edge that skips one column leaves the straight way; fewer, the more it climbs."""
    middle = _TOP + layout.row * (0.5 + (layout.rows + 0.4) / 2)
    flatness = max(0.0, 1 - abs(y1 - y0) / (3 * layout.row))
    return (12.0 if (y0 + y1) / 2 >= middle else -7.0) * flatness


_FILL = {"input": "#1f2937", "logits": "#1f2937", "mlp": "#e6edf7", "attention-input": "#eef0f3"}


def _box(component: Component, x: float, y: float, *, on: bool) -> str:
    width, height = _NODE
    fill = f' fill="{_FILL[component.kind]}"' if on and component.kind in _FILL else ""
    box = (
        f'<rect x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"{fill}'
    )
    return f"{box}><title>{component.name}</title></rect>" if on else f"{box}/>"


def _name(component: Component, x: float, y: float, *, on: bool) -> str:
    short = component.name.rsplit(".", 1)[-1]
    fill = ' fill="#ffffff"' if on and component.kind in ("input", "logits") else ""
    return f'<text x="{x:.0f}" y="{y + 4:.0f}"{fill}>{short}</text>'
