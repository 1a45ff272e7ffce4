"""Circuits as columns: the nodes, edges and layout that the browser draws, which are those of the report's drawings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel

from ..circuits import Circuit, CircuitRecord, ComputationGraph, Universe
from ..circuits.layout import MIN_REACH, NODE, PORT_OFFSET, REACH, Layout, curves
from ..query import CircuitPair

Numbers = list[float | None]


class NodeColumns(BaseModel):
    """The nodes of a universe, in its order.

    Attributes:
        x: horizontal position in pixels; empty if circuits over the universe cannot be drawn. Likewise `y`.
        on: whether the node is part of the circuit.
        full_in: signed inflow over all edges of the universe; None without scores. Likewise `full_out`.
    """

    name: list[str]
    kind: list[str]
    layer: list[int | None]
    x: list[float]
    y: list[float]
    on: list[bool]
    full_in: Numbers | None = None
    full_out: Numbers | None = None


class EdgeColumns(BaseModel):
    """The edges of a circuit, or of two, one value per edge; a column is None if its values are unknown.

    Attributes:
        sender: row of the sender among the nodes. Likewise `receiver`.
        bow: vertical distance of the curve's control points in pixels; empty without a drawing.
        rank: 1 for the edge that was extracted first.
        score: positive raises the metric.
        side: `both`, `a` or `b`: which of two circuits has the edge.
        score_a: its score in the first of two circuits. Likewise `score_b`, `rank_a`, `rank_b` (0 outside the circuit).
    """

    sender: list[int]
    receiver: list[int]
    port: list[str]
    bow: list[float]
    rank: list[int]
    score: Numbers | None = None
    std: Numbers | None = None
    frequency: Numbers | None = None
    side: list[str] | None = None
    score_a: Numbers | None = None
    score_b: Numbers | None = None
    rank_a: list[int] | None = None
    rank_b: list[int] | None = None


class Place(BaseModel):
    """The layout of a drawing, in pixels.

    Attributes:
        body: bottom of the drawing.
        node: width and height of a node.
        ports: vertical offset of the end of an edge, by port.
        reach: horizontal distance of a control point from its end of an edge: share of the width, and least value.
        bands: layer, left and right side of each layer.
    """

    width: float
    body: float
    node: tuple[float, float]
    ports: dict[str, float]
    reach: tuple[float, float]
    bands: list[tuple[int, float, float]]


class Picture(BaseModel):
    """What the browser draws.

    Attributes:
        layout: None if circuits over the universe cannot be drawn.
        links: rows of nodes that are always connected.
    """

    nodes: NodeColumns
    edges: EdgeColumns
    layout: Place | None
    links: list[tuple[int, int]]


def picture_of(record: CircuitRecord) -> Picture:
    """Return the columns of a stored circuit, its edges in the order of extraction.

    Examples:
        >>> picture = picture_of(store.circuit(store.circuits()["id"][0]))
        >>> picture.edges.rank[:3], picture.layout.node
        ([1, 2, 3], (36.0, 24.0))
    """
    circuit = record.circuit
    order, frequency = circuit.order, record.frequency
    edges = _edges(circuit.universe, order)
    edges.rank = list(range(1, len(order) + 1))
    edges.score, edges.std = _known(circuit.score, order), _known(circuit.std, order)
    edges.frequency = _known(frequency, order)
    nodes = _nodes(circuit.universe, _active(circuit))
    nodes.full_in, nodes.full_out = numbers(record.full_in), numbers(record.full_out)
    return _picture(circuit.universe, nodes, edges, circuit.links)


def picture_of_pair(pair: CircuitPair) -> Picture:
    """Return the columns of the union of two circuits; the edge with the best rank in either of them comes first.

    `score` has the larger of the two scores in magnitude, for widths.

    Examples:
        >>> a, b = store.circuits(attack="natural")["id"][:2]
        >>> from circuitstore.query import compare_pair
        >>> picture = picture_of_pair(compare_pair(store, a, b))
        >>> set(picture.edges.side)
        {'a', 'both', 'b'}
    """
    a, b = pair.circuits
    ranks = np.stack([circuit.ranks[pair.index] for circuit in (a, b)])
    best = np.where(ranks == 0, np.iinfo(ranks.dtype).max, ranks).min(axis=0)
    order = np.lexsort((pair.index, best))
    edges = _edges(a.universe, pair.index[order])
    edges.rank = best[order].tolist()
    edges.side = [pair.sides[i] for i in order]
    edges.rank_a, edges.rank_b = (row[order].tolist() for row in ranks)
    scores = pair.scores()
    if scores is not None:
        first, second = (values[order] for values in scores)
        edges.score_a, edges.score_b = numbers(first), numbers(second)
        larger = np.where(np.nan_to_num(np.abs(first)) >= np.nan_to_num(np.abs(second)), first, second)
        edges.score = numbers(larger)
    nodes = _nodes(a.universe, _active(a) | _active(b))
    return _picture(a.universe, nodes, edges, tuple(dict.fromkeys((*a.links, *b.links))))


def numbers(values: Float[np.ndarray, "n"] | None) -> Numbers | None:
    """Return numbers as JSON can have them: nine digits, from which 32 bits are exact, and None for NaN.

    Examples:
        >>> numbers(np.array([0.1, np.nan], np.float32))
        [0.100000001, None]
    """
    if values is None:
        return None
    return [None if value != value else float(f"{value:.9g}") for value in values.tolist()]


def _known(values: Float[np.ndarray, "edge"] | None, order: Int[np.ndarray, "member"]) -> Numbers | None:
    return None if values is None else numbers(values[order])


def _active(circuit: Circuit) -> Bool[np.ndarray, "node"]:
    """Return the nodes of a circuit; for an edge set that was not pruned, also the ends of its edges."""
    universe = circuit.universe
    active = np.isin(universe.node_names, circuit.nodes)
    active[universe.edges.sender[circuit.members]] = active[universe.edges.receiver[circuit.members]] = True
    return active


def _nodes(universe: Universe, on: Bool[np.ndarray, "node"]) -> NodeColumns:
    layout = Layout(universe) if isinstance(universe, ComputationGraph) else None
    return NodeColumns(
        name=list(universe.node_names),
        kind=[c.kind for c in universe.components],
        layer=[c.layer for c in universe.components],
        x=[] if layout is None else layout.x.round(1).tolist(),
        y=[] if layout is None else layout.y.round(1).tolist(),
        on=on.tolist(),
    )


def _edges(universe: Universe, order: Int[np.ndarray, "member"]) -> EdgeColumns:
    edges = universe.edges
    sender, receiver = edges.sender[order], edges.receiver[order]
    port = [edges.port[i] for i in order]
    bow: list[float] = []
    if isinstance(universe, ComputationGraph):
        bow = curves(Layout(universe), sender, receiver, port).bow.round(1).tolist()
    return EdgeColumns(sender=sender.tolist(), receiver=receiver.tolist(), port=port, bow=bow, rank=[])


def _picture(universe: Universe, nodes: NodeColumns, edges: EdgeColumns, links: Sequence[tuple[str, str]]) -> Picture:
    index = universe.node_index
    rows = [(index[above], index[below]) for above, below in links]
    return Picture(nodes=nodes, edges=edges, layout=_place(universe), links=rows)


def _place(universe: Universe) -> Place | None:
    if not isinstance(universe, ComputationGraph):
        return None
    layout = Layout(universe)
    bands = [(layer, round(left, 1), round(right, 1)) for layer, left, right in layout.bands]
    return Place(
        width=layout.width, body=layout.body, node=NODE, ports=PORT_OFFSET, reach=(REACH, MIN_REACH), bands=bands
    )
