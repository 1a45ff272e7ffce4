"""Checks of the parts of a graph that do not belong to one circuit: shared nodes, and nodes of no circuit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...circuits import CircuitRecord
from ..cypher.schema import SHARED
from .content import Ask, condition_key
from .contract import GraphBackend
from .rows import shared_rows

SHOWN = 3
"""Maximum number of nodes that a message names."""

_ALL = {"timeout_s": 3600.0, "max_rows": 1 << 40, "max_mib": 1 << 16}
_PARENTS = {
    "Class": ("dataset", "OPTIONAL MATCH (x)-[:OF_DATASET]->(p:Dataset)", "p.name"),
    "Component": ("model", "OPTIONAL MATCH (x)-[:PART_OF]->(p:Model)", "p.id"),
}
_COUNTS = ("MATCH (n:Node) RETURN count(*) AS n", "MATCH (:Circuit)-[h:HAS]->(:Node) RETURN count(*) AS n")
_STRAYS = """
    MATCH (n:Node) WHERE NOT EXISTS { MATCH (:Circuit)-[:HAS]->(n) }
    RETURN n.key AS key, n.name AS name ORDER BY key"""


class Shared:
    """The expected models, classes, components … that circuits refer to."""

    def __init__(self) -> None:
        self._seen: set[tuple[Any, ...]] = set()
        self._rows: dict[str, dict[str, list[dict[str, Any]]]] = {label: {} for label in SHARED}

    def add(self, record: CircuitRecord) -> None:
        """Add what a circuit refers to. If two circuits describe the same node differently, both are accepted."""
        item = record.item
        universe = record.circuit.universe
        own = None if universe.all_in_graph else record.id
        of = (item.model, item.target_class, condition_key(item.condition), item.recipe.id, universe, own)
        if of in self._seen:
            return
        self._seen.add(of)
        for label, rows in shared_rows([record]).items():
            for key, row in rows.items():
                known = self._rows[label].setdefault(key, [])
                if row not in known:
                    known.append(row)

    def differences(self, graph: GraphBackend) -> Iterator[tuple[str, str, str]]:
        """Yield `label, key, description` of each node that is missing, duplicated or different in a graph."""
        for label, wanted in self._rows.items():
            found: dict[str, list[dict[str, Any]]] = {}
            for row in _rows(graph, _text(label)):
                found.setdefault(str(row[0]), []).append(dict(zip(SHARED[label].names, row, strict=True)))
            for key, rows in wanted.items():
                yield from ((label, key, what) for what in _differences(label, rows, found.get(key, [])))


def strays(graph: GraphBackend) -> dict[str, str]:
    """Return a description of the nodes of no circuit, by the id of the circuit that they were created for."""
    nodes, had = (_rows(graph, text)[0][0] for text in _COUNTS)
    if nodes == had:
        return {}
    found: dict[str, list[str]] = {}
    for key, name in _rows(graph, _STRAYS):
        found.setdefault(str(key).removesuffix(f"/{name}"), []).append(str(name))
    return {id: f"{len(n)} nodes that no circuit has: {_some(n)}" for id, n in found.items()}


def _text(label: str) -> str:
    """Return the query for all nodes of a label, with the columns of its schema."""
    parent, join, key = _PARENTS.get(label, ("", "", ""))
    columns = [f"{key if name == parent else f'x.{name}'} AS c{i}" for i, name in enumerate(SHARED[label].names)]
    return f"MATCH (x:{label}) {join} RETURN {', '.join(columns)}"


def reading(graph: GraphBackend) -> Ask:
    """Return a function that asks a graph, by `run`, for all rows of a statement."""
    return lambda text, params: _rows(graph, text, params)


def _rows(graph: GraphBackend, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
    """Return the rows of a query as Python values, None if missing."""
    frame = graph.run(text, params, **_ALL).to_pandas().astype(object)
    return frame.where(frame.notna(), None).to_numpy().tolist()


def _differences(label: str, wanted: list[dict[str, Any]], found: list[dict[str, Any]]) -> Iterator[str]:
    if len(found) != 1:
        yield f"the {label} is missing" if not found else f"the {label} occurs {len(found)} times"
        return
    if found[0] in wanted:
        return
    for name, value in found[0].items():
        if value != wanted[0][name]:
            yield f"{name} of the {label} is {value!r}, expected {wanted[0][name]!r}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
