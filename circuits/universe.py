"""Universes: the nodes and edges of which circuits are subsets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ..errors import unknown


@dataclass(frozen=True)
class Component:
    """A node of a universe; fields that do not apply to its kind are None.

    Attributes:
        name: unique in the universe, and the name of the same part of a model in all of its universes.
        kind: `input`, `head`, `mlp`, `attention`, `attention-input`, `logits`, `neuron`, or another word.
        layer: its block.
        head: its index among the heads of the block.
        neuron: its index among the neurons of the block's MLP.
    """

    name: str
    kind: str
    layer: int | None = None
    head: int | None = None
    neuron: int | None = None


def edge_name(sender: str, receiver: str, port: str) -> str:
    """Return `a0.h1->a2.h0<q>`; without angle brackets if the port is empty."""
    return f"{sender}->{receiver}<{port}>" if port else f"{sender}->{receiver}"


@dataclass(frozen=True)
class Edge:
    """An edge: the output of `sender` as read by `receiver` at `port` (q, k, v or '')."""

    sender: str
    receiver: str
    port: str = ""

    @property
    def name(self) -> str:
        return edge_name(self.sender, self.receiver, self.port)


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of a universe as columns, in flat order.

    Attributes:
        sender: row of each edge's sender among the components.
        receiver: row of each edge's receiver.
        port: where the receiver reads it; empty if it has no ports.
    """

    sender: Int[np.ndarray, "edge"]
    receiver: Int[np.ndarray, "edge"]
    port: tuple[str, ...]


class Universe(ABC):
    """A table of nodes and a table of edges, from which everything else is derived.

    A universe is not stored, and is a value: a frozen dataclass whose fields determine the tables, so equal universes
    have equal tables. Edges lead from nodes without incoming edges to nodes without outgoing edges, without cycles.
    """

    def __reduce__(self) -> tuple[Callable[..., Universe], tuple[object, ...]]:
        """Pickle the fields only; the tables follow from them, and are made once in a process."""
        value: Any = self
        return _unpickled, (type(self), *(getattr(self, field.name) for field in fields(value)))

    @property
    @abstractmethod
    def text(self) -> str:
        """Its name in messages, such as `split form`."""

    @abstractmethod
    def make_components(self) -> tuple[Component, ...]:
        """Return the nodes."""

    @abstractmethod
    def make_edges(self) -> Edges:
        """Return the edges."""

    @property
    def structural_links(self) -> tuple[tuple[str, str], ...]:
        """Pairs of nodes that are always connected: paths follow them, but they have no score and are never counted."""
        return ()

    @property
    def all_in_graph(self) -> bool:
        """Whether a graph database has all of its nodes as components, and not only those of circuits."""
        return True

    @property
    def has_drawing(self) -> bool:
        """Whether circuits over it can be drawn."""
        return False

    @property
    def attributes(self) -> dict[str, str | int]:
        """Attributes of its circuits' graphs in files (GraphML …)."""
        return {"universe": self.text}

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """The table of nodes."""
        return self.make_components()

    @cached_property
    def edges(self) -> Edges:
        """The table of edges."""
        return self.make_edges()

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.components)

    @cached_property
    def node_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.node_names)}

    @property
    def n_edges(self) -> int:
        return len(self.edges.sender)

    def edge(self, index: int) -> Edge:
        """Return the edge at a flat index."""
        names, edges = self.node_names, self.edges
        return Edge(names[edges.sender[index]], names[edges.receiver[index]], edges.port[index])

    @cached_property
    def edge_names(self) -> tuple[str, ...]:
        """Names in flat order, such as `a0.h1->a2.h0<q>`."""
        names, edges = self.node_names, self.edges
        ends = zip(edges.sender.tolist(), edges.receiver.tolist(), edges.port, strict=True)
        return tuple(edge_name(names[sender], names[receiver], port) for sender, receiver, port in ends)

    @cached_property
    def edge_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.edge_names)}

    def index_of(self, name: str) -> int:
        """Return the flat index of an edge name.

        Raises:
            InputError: no such edge in this universe; the message names the nearest ones.
        """
        if name not in self.edge_index:
            raise unknown(f"edge of the {self.text}", name, self.edge_names)
        return self.edge_index[name]

    @cached_property
    def link_ends(self) -> tuple[Int[np.ndarray, "link"], Int[np.ndarray, "link"]]:
        """Rows of the upper and of the lower nodes of the structural links."""
        pairs = [(self.node_index[a], self.node_index[b]) for a, b in self.structural_links]
        above, below = np.array(pairs, dtype=int).reshape(-1, 2).T
        return above, below

    @cached_property
    def ends(self) -> tuple[Bool[np.ndarray, "node"], Bool[np.ndarray, "node"]]:
        """First and last nodes of paths: nodes with only outgoing, and nodes with only incoming, edges or links."""
        above, below = self.link_ends
        outgoing, incoming = np.zeros((2, len(self.components)), bool)
        outgoing[self.edges.sender] = outgoing[above] = True
        incoming[self.edges.receiver] = incoming[below] = True
        return outgoing & ~incoming, incoming & ~outgoing

    def reachable(self, members: Bool[np.ndarray, "edge"]) -> Bool[np.ndarray, "node"]:
        """Return the nodes on a path (from `input` to `logits`) along member edges and structural links."""
        above, below = self.link_ends
        senders = np.concatenate([self.edges.sender[members], above])
        receivers = np.concatenate([self.edges.receiver[members], below])
        first, last = self.ends
        return _spread(first, senders, receivers) & _spread(last, receivers, senders)

    def prune(self, members: Bool[np.ndarray, "edge"]) -> Bool[np.ndarray, "edge"]:
        """Return the member edges on a path from a first to a last node, following structural links.

        This is the fixed point of dropping nodes without incoming or without outgoing edges.
        """
        alive = self.reachable(members)
        return members & alive[self.edges.sender] & alive[self.edges.receiver]


@lru_cache(maxsize=64)
def _unpickled(kind: type[Universe], *values: object) -> Universe:
    return kind(*values)


def _spread(start: np.ndarray, tails: np.ndarray, heads: np.ndarray) -> Bool[np.ndarray, "node"]:
    """Return the nodes that can be reached from `start` along arrows from tails to heads, including `start`."""
    reached, before = start.copy(), -1
    while (count := np.count_nonzero(reached)) > before:
        before = count
        reached[heads[reached[tails]]] = True
    return reached
