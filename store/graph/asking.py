"""What every backend is asked in the same words: the portable Cypher behind `present`, `content` and `lease`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import InputError
from .content import GraphContent
from .contract import Lease
from .rows import CIRCUIT, REFERENCES

Ask = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Runs one statement with parameters and gives its rows."""

PRESENT = "MATCH (c:Circuit) RETURN c.id, c.sha256"
PRESENT_OF = "UNWIND $ids AS wanted MATCH (c:Circuit {id: wanted}) RETURN c.id, c.sha256"
LEASE = "MATCH (s:Store) RETURN s.lease_owner, s.lease_until_ms"
SET_LEASE = "MATCH (s:Store) SET s.lease_owner = $owner, s.lease_until_ms = $until_ms"

_PROPERTIES = tuple(name for name in CIRCUIT.names if name not in REFERENCES)
_CIRCUIT = "MATCH (c:Circuit {id: $id}) RETURN " + ", ".join(f"c.{name}" for name in _PROPERTIES)
_RELATIONS = {  # one by one: together they are planned badly
    "model": "MATCH (:Circuit {id: $id})-[:OF_MODEL]->(m:Model) RETURN m.id",
    "class": "MATCH (:Circuit {id: $id})-[:OF_CLASS]->(k:Class) RETURN k.key",
    "dataset": "MATCH (:Circuit {id: $id})-[:OF_CLASS]->(:Class)-[:OF_DATASET]->(d:Dataset) RETURN d.name",
    "condition": "MATCH (:Circuit {id: $id})-[:UNDER]->(u:Condition) RETURN u.key",
    "recipe": "MATCH (:Circuit {id: $id})-[:FOUND_BY]->(r:Recipe) RETURN r.key",
}
_NODES = """
    MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node)
    OPTIONAL MATCH (n)-[:INSTANCE_OF]->(k:Component)
    RETURN n.name, n.kind, n.layer, n.head, n.full_in, n.full_out, k.key"""
_EDGES = """
    MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node)-[f:FEEDS]->(m:Node)
    RETURN f.edge, n.name, m.name, f.port, f.score, f.std, f.rank, f.frequency"""
_LINKS = """
    MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node)-[:CONTAINS]->(m:Node)
    RETURN n.name, m.name"""


def content(ask: Ask, circuit_id: str, url: str) -> GraphContent:
    """All that a database holds of a circuit; `ask` must answer from one state throughout.

    Raises:
        InputError: no such circuit.
    """
    at = {"id": circuit_id}
    circuits = ask(_CIRCUIT, at)
    if not circuits:
        raise InputError(f"{url} holds no circuit {circuit_id!r}")
    relations = {name: ", ".join(row[0] for row in ask(text, at)) for name, text in _RELATIONS.items()}
    return GraphContent.sorted(
        dict(zip(_PROPERTIES, circuits[0], strict=True)),
        relations,
        _columns("name kind layer head full_in full_out component", ask(_NODES, at)),
        _columns("edge sender receiver port score std rank frequency", ask(_EDGES, at)),
        _columns("above below", ask(_LINKS, at)),
    )


def lease(ask: Ask) -> Lease | None:
    """Who holds the lease."""
    owner, until_ms = ask(LEASE, {})[0]
    return None if owner is None else Lease(owner, until_ms)


def _columns(names: str, rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: [row[i] for row in rows] for i, name in enumerate(names.split())}
