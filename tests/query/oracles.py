"""Answers of named queries in plain Python on the records: the registry, and what all of them use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from statistics import fmean
from typing import Any

from circuitstore.circuits import CircuitRecord

from .conftest import Library

Row = tuple[Any, ...]
Oracle = Callable[..., list[Row]]

ATTACK = "typographic(text=other class)"
ORACLES: dict[str, Oracle] = {}


def oracle(function: Oracle) -> Oracle:
    ORACLES[function.__name__.replace("_", "-")] = function
    return function


class Feed:
    """A FEEDS relationship."""

    def __init__(self, record: CircuitRecord, position: int) -> None:
        graph, index = record.circuit.graph, int(record.circuit.order[position])
        edge = graph.edge(index)
        self.name, self.sender, self.receiver, self.port = edge.name, edge.sender, edge.receiver, edge.port
        self.rank = position + 1
        self.score = float(record.circuit.score[index])
        self.std = float(record.circuit.std[index])
        self.frequency = float(record.frequency[index])


def feeds(record: CircuitRecord) -> list[Feed]:
    return [Feed(record, position) for position in range(record.circuit.n_edges)]


def study(library: Library, p: dict[str, Any], **more: Any) -> list[CircuitRecord]:
    names = ("dataset", "form", "method", "metric", "direction", "corruption", "extraction", "condition")
    found = library.chosen(**{n: p[n] for n in names if n in p} | more)
    given = p.get("model", "")
    return [r for r in found if given in ("", r.item.model.name) or r.item.model.id.startswith(given)]


def having(records: list[CircuitRecord]) -> dict[str, list[tuple[CircuitRecord, Feed]]]:
    """Return the circuits that have each edge."""
    found = defaultdict(list)
    for record in records:
        for feed in feeds(record):
            found[feed.name].append((record, feed))
    return found


def mean_score(found: list[tuple[CircuitRecord, Feed]]) -> float:
    return fmean(feed.score for _, feed in found)


def by_id(library: Library, id: str) -> CircuitRecord:
    return next(r for r in library.records if r.id.startswith(id))


def listed_properties(record: CircuitRecord) -> dict[str, Any]:
    """Return its properties, with a unique label of its model and its share of the edges of the graph."""
    name, id = record.item.model.name, record.item.model.id
    label = f"vit ({id[:8]})" if name == "vit" else name
    return record.properties() | {"model": label, "share": record.circuit.n_edges / record.circuit.graph.n_edges}
