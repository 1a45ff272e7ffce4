"""A circuit: member edges of a universe, all on a path through it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import InputError, warn
from ..results import Exportable
from .drawing import MAX_EDGES, Drawing, draw
from .graph import ComputationGraph, computation_graph
from .universe import Universe

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


class Scored(Protocol):
    """The attributes of `EdgeScores` from which circuits are extracted."""

    @property
    def universe(self) -> Universe: ...
    @property
    def mean(self) -> Float[np.ndarray, "edge"]: ...
    @property
    def std(self) -> Float[np.ndarray, "edge"] | None: ...
    @property
    def shares(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class Circuit(Exportable):
    """Member edges of a universe, in flat edge order.

    Create one by extraction from scores or by `Circuit.from_edges`; both prune.

    Attributes:
        universe: the universe that edge positions refer to.
        members: True for member edges.
        size_requested: requested edges before pruning; None if no size was requested.
        order: flat indices of the members, first extracted first.
        extraction: canonical text of the extraction: `top(n=24)`, `given` …
        score: mean score of every edge of the universe, NaN if unknown; None without scores.
        std: standard deviation over images, likewise.
    """

    universe: Universe
    members: Bool[np.ndarray, "edge"]
    size_requested: int | None = None
    order: Int[np.ndarray, "member"] = field(default_factory=lambda: np.empty(0, int))
    extraction: str = "given"
    score: Float[np.ndarray, "edge"] | None = None
    std: Float[np.ndarray, "edge"] | None = None

    def __post_init__(self) -> None:
        if self.members.shape != (self.universe.n_edges,) or self.members.dtype != bool:
            raise InputError(
                f"members: expected {self.universe.n_edges} booleans, "
                f"got {self.members.dtype} of shape {self.members.shape}"
            )
        order = self.order if len(self.order) else np.flatnonzero(self.members)
        object.__setattr__(self, "order", order)

    @property
    def graph(self) -> ComputationGraph:
        """The universe as a computation graph.

        Raises:
            InputError: it is another universe.
        """
        return computation_graph(self.universe)

    @classmethod
    def from_edges(cls, universe: Universe, names: Iterable[str], scores: Scored | None = None) -> Circuit:
        """Return the circuit of the named edges, pruned. Warns if no edge is left.

        Raises:
            InputError: a name that is no edge of the universe, or scores of another universe.
        """
        chosen = np.array([universe.index_of(name) for name in dict.fromkeys(names)], dtype=int)
        return warn_if_emptied(cls.pruned(universe, chosen, size_requested=len(chosen), scores=scores))

    @classmethod
    def pruned(
        cls,
        universe: Universe,
        order: Int[np.ndarray, "chosen"],
        *,
        size_requested: int | None,
        extraction: str = "given",
        scores: Scored | None = None,
    ) -> Circuit:
        """Return the circuit that remains of chosen edges (flat indices, first extracted first) after pruning."""
        members = np.zeros(universe.n_edges, bool)
        members[order] = True
        members = universe.prune(members)
        circuit = cls(universe, members, size_requested, order[members[order]], extraction)
        return circuit if scores is None else circuit.scored(scores)

    def scored(self, scores: Scored) -> Circuit:
        """Return the same circuit with the scores of every edge.

        Raises:
            InputError: scores of another universe.
        """
        if scores.universe != self.universe:
            raise InputError(f"scores: expected those of {self.universe}, got those of {scores.universe}")
        return replace(self, score=scores.mean, std=scores.std)

    @classmethod
    def found(cls, universe: Universe, members: Bool[np.ndarray, "edge"], scores: Scored | None) -> Circuit:
        """Return the circuit of edges that a method selected; if it also scored them, the largest come first."""
        order = np.flatnonzero(members)
        if scores is not None:
            order = order[np.argsort(-np.abs(scores.mean[order]), kind="stable")]
        return cls.pruned(universe, order, size_requested=len(order), extraction="found", scores=scores)

    @property
    def n_edges(self) -> int:
        """Number of member edges; structural links are not counted."""
        return int(self.members.sum())

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Names of the member edges in flat order."""
        return tuple(self.universe.edge_names[i] for i in np.flatnonzero(self.members))

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes on member edges and the structural links between them, in the universe's order."""
        if not self.members.any():
            return ()
        alive = self.universe.reachable(self.members)
        return tuple(name for name, on in zip(self.universe.node_names, alive, strict=True) if on)

    @property
    def n_nodes(self) -> int:
        return len(self.nodes)

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Structural links between the circuit's nodes."""
        nodes = set(self.nodes)
        return tuple(link for link in self.universe.structural_links if nodes.issuperset(link))

    @property
    def astray(self) -> str | None:
        """An error message if the circuit is not pruned, so that no graph could show it; None if it is."""
        outside = np.flatnonzero(self.members & ~self.universe.prune(self.members))
        if not len(outside):
            return None
        return (
            f"edge {self.universe.edge_names[outside[0]]} is on no path through the {self.universe.text}; "
            "create circuits by extraction or by Circuit.from_edges, which prune"
        )

    @cached_property
    def ranks(self) -> Int[np.ndarray, "edge"]:
        """1 for the edge extracted first; 0 outside the circuit."""
        ranks = np.zeros(self.universe.n_edges, int)
        ranks[self.order] = np.arange(1, len(self.order) + 1)
        return ranks

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `edge, sender, receiver, port, rank` and, with scores, `score, std`; one row per member."""
        import pandas as pd

        index = np.flatnonzero(self.members)
        edges = [self.universe.edge(int(i)) for i in index]
        frame = pd.DataFrame(
            {
                "edge": [e.name for e in edges],
                "sender": [e.sender for e in edges],
                "receiver": [e.receiver for e in edges],
                "port": [e.port for e in edges],
                "rank": self.ranks[index],
            }
        )
        for name in ("score", "std"):
            values = getattr(self, name)
            if values is not None:
                frame[name] = values[index]
        return frame

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return nodes and edges with their attributes, which networkx can write as GraphML, GEXF and GML.

        Nodes have `kind`, and `layer`, `head` and `neuron` if they have them. Edges are keyed by name and have `kind`:
        `feeds` with `port`, `rank` and, with scores, `score` and `std`; or `contains` for structural links.
        """
        return as_networkx(self, self.to_pandas())

    def draw(
        self,
        values: Float[np.ndarray, "edge"] | None = None,
        *,
        label: str = "",
        key: str = "",
        max_edges: int = MAX_EDGES,
        scale: float | None = None,
        shared: Bool[np.ndarray, "edge"] | None = None,
    ) -> Drawing:
        """Draw the circuit: layers from left to right, heads and MLPs as nodes, edges by score. A notebook displays it.

        Nodes outside the circuit are faint outlines.

        Args:
            values: one number per edge of the universe, for width and colour; the scores by default. Without either,
                all edges look the same.
            label: text alternative of the drawing.
            key: what the numbers are and what the colours mean; by default that they are scores.
            max_edges: maximum number of edges drawn, those of the largest magnitude; the caption counts the others.
            scale: magnitude of the widest and darkest edge; by default the largest in this circuit. Use the same scale
                for drawings that are compared.
            shared: the members of another circuit, one truth value per edge: edges in both are grey, the others red,
                and only the width shows the number.

        Raises:
            InputError: `values` does not have one number per edge, finite within the circuit, `shared` not one truth
                value per edge, or the universe is not a computation graph.
        """
        return draw(self, values, label=label, key=key, max_edges=max_edges, scale=scale, shared=shared)

    def _repr_svg_(self) -> str | None:
        return self.draw().svg if self.universe.has_drawing else None

    def _drawing(self) -> str:
        return self._repr_svg_() or ""

    def __repr__(self) -> str:
        of = self.universe
        return f"Circuit({self.n_edges} of {of.n_edges} edges, {self.n_nodes} nodes, {of.text}, {self.extraction})"

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().sort_values("rank").head(n)


def as_networkx(circuit: Circuit, frame: pd.DataFrame) -> nx.MultiDiGraph:
    """Return the graph of a circuit, with the columns of a frame of its edges; see `Circuit.to_networkx`."""
    import networkx as nx

    of = circuit.universe
    graph = nx.MultiDiGraph()
    graph.graph.update(of.attributes)
    for name in circuit.nodes:
        c = of.components[of.node_index[name]]
        place = {"layer": c.layer, "head": c.head, "neuron": c.neuron}
        graph.add_node(name, kind=c.kind, **{k: v for k, v in place.items() if v is not None})
    numbers = [name for name in ("port", "rank", "score", "std", "frequency") if name in frame]
    for row in frame.to_dict("records"):
        data = {name: row[name] for name in numbers}
        graph.add_edge(row["sender"], row["receiver"], key=row["edge"], kind="feeds", **data)
    for above, below in circuit.links:
        graph.add_edge(above, below, key=f"{above}->{below}", kind="contains")
    return graph


def warn_if_emptied(circuit: Circuit) -> Circuit:
    """Return the circuit, with a `CircuitStoreWarning` if edges were requested and none is left."""
    if circuit.size_requested and not circuit.n_edges:
        warn(
            f"{circuit.extraction}: pruning left none of {circuit.size_requested} edges, because these edges form no "
            f"path through the {circuit.universe.text}; request more edges, or grow them from logits upward with "
            "greedy",
        )
    return circuit
