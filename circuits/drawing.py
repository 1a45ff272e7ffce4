"""Drawings of circuits as SVG: layers from left to right, edges by score."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import InputError
from ..results import write_whole
from .graph import PORTS, Component, ComputationGraph
from .layout import NODE, PORT_OFFSET, Layout, curves
from .strokes import Strokes

MAX_EDGES = 120
"""Edges drawn by default; with more, single edges cannot be followed."""

_LETTER = 6.4
"""Estimated width of a letter of the caption in pixels, on the large side: the viewer chooses the font."""
_MARGIN, _LINE = 16.0, 20.0


@dataclass(frozen=True)
class Drawing:
    """A drawing that renders in a notebook.

    Attributes:
        svg: one self-contained `<svg>` element.
    """

    svg: str

    def save(self, path: str | Path) -> None:
        """Write the drawing as an SVG file, atomically.

        Raises:
            InputError: the file cannot be written.
        """
        write_whole(path, f"{self.svg}\n")

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return self.svg


def svg_element(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    """Return elements on a white card as one `<svg>` element with an alternative text."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" font-family="system-ui, sans-serif" font-size="11">'
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


class Drawable(Protocol):
    """The attributes of a `Circuit` that a drawing needs."""

    @property
    def graph(self) -> ComputationGraph: ...
    @property
    def members(self) -> Bool[np.ndarray, "edge"]: ...
    @property
    def score(self) -> Float[np.ndarray, "edge"] | None: ...
    @cached_property
    def ranks(self) -> Int[np.ndarray, "edge"]: ...
    @cached_property
    def nodes(self) -> tuple[str, ...]: ...
    @property
    def links(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def n_edges(self) -> int: ...
    @property
    def n_nodes(self) -> int: ...


def draw(
    circuit: Drawable,
    values: Float[np.ndarray, "edge"] | None = None,
    *,
    label: str = "",
    key: str = "",
    max_edges: int = MAX_EDGES,
    scale: float | None = None,
    shared: Bool[np.ndarray, "edge"] | None = None,
) -> Drawing:
    """Return the drawing of a circuit; see `Circuit.draw`."""
    if values is None:
        values = circuit.score
    if values is not None:
        _check(values, circuit)
    if shared is not None:
        _check_shared(shared, circuit)
    largest = 0.0 if values is None else float(np.abs(values[circuit.members]).max(initial=0.0))
    strokes = Strokes(values, (largest if scale is None else scale) or 1.0, shared)
    return Drawing(_Picture(circuit, strokes, label, key, max_edges).svg())


def _check_shared(shared: np.ndarray, circuit: Drawable) -> None:
    n_edges = circuit.graph.n_edges
    if np.shape(shared) != (n_edges,):
        raise InputError(
            f"shared: expected {n_edges} truth values, one per edge of the graph, such as the members of another "
            f"circuit; got an array of shape {np.shape(shared)}"
        )


def _check(values: np.ndarray, circuit: Drawable) -> None:
    n_edges = circuit.graph.n_edges
    if np.shape(values) != (n_edges,) or not np.isfinite(values[circuit.members]).all():
        raise InputError(
            f"values: expected {n_edges} numbers, one per edge of the graph, finite within the circuit; got an array "
            f"of shape {np.shape(values)}"
        )


class _Picture:
    """The elements of one drawing, back to front."""

    def __init__(self, circuit: Drawable, strokes: Strokes, label: str, key: str, max_edges: int) -> None:
        self.circuit, self.strokes, self.label, self.key = circuit, strokes, label, key or strokes.key
        self.layout = Layout(circuit.graph)
        self.shown = strongest(circuit, strokes.values, max_edges)

    def svg(self) -> str:
        width = self.layout.width
        caption, height = self._caption()
        active = self._active_nodes()
        faint = self._nodes(set(self.circuit.graph.node_names) - active, on=False)
        parts = [*self._layers(), *faint, *self._links(), *self._edges(), *self._nodes(active, on=True), *caption]
        return svg_element(width, height, self._aria_label(), parts)

    def _active_nodes(self) -> set[str]:
        """Return the nodes of the circuit; for an edge set that was not pruned, also the ends of its edges."""
        edges = [self.circuit.graph.edge(int(i)) for i in np.flatnonzero(self.circuit.members)]
        return {*self.circuit.nodes, *(e.sender for e in edges), *(e.receiver for e in edges)}

    def _aria_label(self) -> str:
        c = self.circuit
        what = f"{self.label}: " if self.label else ""
        best = self.shown[::-1][:3]
        names = ", ".join(c.graph.edge_names[i] for i in best)
        strongest_ones = f"; strongest: {names}" if names and self.strokes.values is not None else ""
        return f"{what}circuit of {c.n_edges} of {c.graph.n_edges} edges and {c.n_nodes} nodes{strongest_ones}"

    def _layers(self) -> list[str]:
        """Return a band and a heading per layer."""
        parts = []
        for layer, left, right in self.layout.bands:
            if layer % 2 == 0:
                parts.append(
                    f'<rect x="{left:.0f}" y="0" width="{right - left:.0f}" height="{self.layout.body:.0f}" '
                    'rx="6" fill="#f4f6f9"/>'
                )
            name = f"layer {layer}" if right - left > 60 else str(layer)
            parts.append(f'<text x="{(left + right) / 2:.0f}" y="20" text-anchor="middle" fill="#64748b">{name}</text>')
        return parts

    def _links(self) -> list[str]:
        """Return the structural links between nodes of the circuit, dashed because they have no score."""
        index, links = self.circuit.graph.node_index, self.circuit.links
        above, below = (np.array([index[link[end]] for link in links], int) for end in (0, 1))
        paths = curves(self.layout, above, below, [""] * len(links)).paths
        return [
            f'<path d="{path}" fill="none" stroke="#94a3b8" stroke-width="1" stroke-dasharray="3 3">'
            f"<title>{upper} contains {lower}</title></path>"
            for path, (upper, lower) in zip(paths, links, strict=True)
        ]

    def _edges(self) -> list[str]:
        """Return the drawn edges, weakest first, so that strong edges are on top."""
        edges, shown = self.circuit.graph.edges, np.array(self.shown, int)
        ports = [edges.port[i] for i in self.shown]
        paths = curves(self.layout, edges.sender[shown], edges.receiver[shown], ports).paths
        drawn = (self._edge(i, path) for i, path in zip(self.shown, paths, strict=True))
        return ['<g fill="none" stroke-linecap="round">', *drawn, "</g>"]

    def _edge(self, index: int, path: str) -> str:
        value = self.strokes.value(index)
        score = "" if value is None else f" {value:+.4g}"
        return (
            f'<path d="{path}" {self.strokes.of(index)}><title>{escape(self.circuit.graph.edge(index).name)}{score}, '
            f"rank {self.circuit.ranks[index]}</title></path>"
        )

    def _nodes(self, names: set[str], *, on: bool) -> list[str]:
        """Return boxes with the nodes' short names; faint if they are not part of the circuit."""
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
        """Return dots at the left of heads where q, k and v enter."""
        left = NODE[0] / 2
        dots = "".join(f"M{x - left:.0f} {y + PORT_OFFSET[port]:.0f}h0" for _, x, y in heads for port in PORTS)
        return [f'<path d="{dots}" stroke="#475569" stroke-width="3.4" stroke-linecap="round"/>'] if dots else []

    def _caption(self) -> tuple[list[str], float]:
        """Return the legend and the counts below the drawing, and the y position of the end."""
        parts, y = self._legend(self.layout.body + 22)
        for line in _lines(self._counts(), self.layout.width - 2 * _MARGIN):
            parts.append(_text(_MARGIN, y, line))
            y += _LINE
        return parts, y

    def _legend(self, y: float) -> tuple[list[str], float]:
        """Return sample strokes with their texts and the key, and the y position of the next line."""
        parts: list[str] = []
        samples = self.strokes.samples(self.shown)
        if not samples:
            return parts, y
        x, right = _MARGIN, self.layout.width - _MARGIN
        for stroke, text in samples:
            end = x + 34 + _LETTER * len(text)
            if end > right:
                x, y, end = _MARGIN, y + _LINE, end - x + _MARGIN
            parts.append(f'<path d="M{x:.0f} {y:.0f}h26" {stroke} stroke-linecap="round"/>')
            parts.append(_text(x + 34, y, text))
            x = end + 20
        if x + _LETTER * len(self.key) > right and x > _MARGIN:
            x, y = _MARGIN, y + _LINE
        for line in _lines(self.key, right - x):
            parts.append(_text(x, y, line))
            y += _LINE
        return parts, y

    def _counts(self) -> str:
        circuit = self.circuit
        graph = circuit.graph
        nodes = f"{len(self._active_nodes())} of {len(graph.components)} nodes"
        text = f"{circuit.n_edges} of {graph.n_edges} edges, {nodes}"
        left_out = circuit.n_edges - len(self.shown)
        if left_out:
            text += f"; the {len(self.shown)} strongest are drawn, {left_out} weaker edges are left out"
        if graph.form == "split":
            text += "; edges enter a head as q, k, v from top to bottom"
        if circuit.links:
            text += "; dashed: a layer's input to its heads, always open"
        return text


def _lines(text: str, room: float) -> list[str]:
    """Return a text wrapped to a width."""
    return textwrap.wrap(text, max(1, int(room / _LETTER)))


def _text(x: float, y: float, text: str) -> str:
    """Return a line of the caption, at the height of strokes at `y`."""
    return f'<text x="{x:.0f}" y="{y + 4:.0f}" fill="#475569">{escape(text)}</text>'


def strongest(circuit: Drawable, values: Float[np.ndarray, "edge"] | None, count: int) -> list[int]:
    """Return the `count` member edges of largest magnitude (without values: of best rank), weakest first."""
    index = np.flatnonzero(circuit.members)
    worth = -circuit.ranks[index].astype(float) if values is None else np.abs(values[index].astype(np.float64))
    order = np.lexsort((-index, worth))
    return [int(i) for i in index[order][max(0, len(index) - count) :]]


_FILL = {"input": "#1f2937", "logits": "#1f2937", "mlp": "#e6edf7", "attention-input": "#eef0f3"}


def _box(component: Component, x: float, y: float, *, on: bool) -> str:
    width, height = NODE
    fill = f' fill="{_FILL[component.kind]}"' if on and component.kind in _FILL else ""
    box = (
        f'<rect x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"{fill}'
    )
    return f"{box}><title>{component.name}</title></rect>" if on else f"{box}/>"


def _name(component: Component, x: float, y: float, *, on: bool) -> str:
    short = component.name.rsplit(".", 1)[-1]
    fill = ' fill="#ffffff"' if on and component.kind in ("input", "logits") else ""
    return f'<text x="{x:.0f}" y="{y + 4:.0f}"{fill}>{short}</text>'
