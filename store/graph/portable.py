"""Portable Cypher that all backends share, behind `put`, `content` and the lease."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ...circuits import CircuitRecord
from ...errors import InputError, StoreBusy, StoreDamaged
from ..cypher.schema import CIRCUIT, REFERENCES
from ..lease import LeaseLost
from .content import Ask, GraphContent
from .contract import Lease

PRESENT = "MATCH (c:Circuit) RETURN c.id, c.sha256"
PRESENT_OF = "UNWIND $ids AS wanted MATCH (c:Circuit {id: wanted}) RETURN c.id, c.sha256"
LEASE = "MATCH (s:Store) RETURN s.lease_owner, s.lease_until_ms"
SET_LEASE = "MATCH (s:Store) SET s.lease_owner = $owner, s.lease_until_ms = $until_ms"
RELEASE = "MATCH (s:Store {lease_owner: $owner}) SET s.lease_owner = NULL, s.lease_until_ms = NULL"
"""Does nothing if another owner has the lease, or if the database was emptied."""
DELETE_SIMILAR = "MATCH (:Circuit)-[s:SIMILAR]->(:Circuit) WHERE s.measure = $measure DELETE s"

_PROPERTIES = tuple(name for name in CIRCUIT.names if name not in REFERENCES)
_CIRCUIT = "MATCH (c:Circuit {id: $id}) RETURN " + ", ".join(f"c.{name}" for name in _PROPERTIES)
_RELATIONS = {  # separate queries, because the planner handles a combined one badly
    "model": "MATCH (:Circuit {id: $id})-[:OF_MODEL]->(m:Model) RETURN m.id",
    "class": "MATCH (:Circuit {id: $id})-[:OF_CLASS]->(k:Class) RETURN k.key",
    "dataset": "MATCH (:Circuit {id: $id})-[:OF_CLASS]->(:Class)-[:OF_DATASET]->(d:Dataset) RETURN d.name",
    "condition": "MATCH (:Circuit {id: $id})-[:UNDER]->(u:Condition) RETURN u.key",
    "recipe": "MATCH (:Circuit {id: $id})-[:FOUND_BY]->(r:Recipe) RETURN r.key",
}
_NODES = """
    MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node)
    OPTIONAL MATCH (n)-[:INSTANCE_OF]->(k:Component)
    RETURN n.name, n.kind, n.layer, n.head, n.neuron, n.full_in, n.full_out, k.key"""
_EDGES = """
    MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node)-[f:FEEDS]->(m:Node)
    RETURN f.edge, n.name, m.name, f.port, f.score, f.std, f.rank, f.frequency"""
_LINKS = """
    MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node)-[:CONTAINS]->(m:Node)
    RETURN n.name, m.name"""


def missing(ask: Ask, records: Sequence[CircuitRecord], url: str) -> list[CircuitRecord]:
    """Return the circuits that are not in the database.

    Raises:
        StoreDamaged: the database has one of them with another checksum.
    """
    have = {row[0]: row[1] for row in ask(PRESENT_OF, {"ids": [r.id for r in records]})}
    for record in records:
        if have.get(record.id, record.sha256) != record.sha256:
            raise StoreDamaged(
                f"{url} has circuit {record.id[:12]} with checksum {have[record.id][:12]}, the archive's is "
                f"{record.sha256[:12]}; rebuild the graph from the archive with: circuitstore rebuild"
            )
    return [r for r in records if r.id not in have]


def content(ask: Ask, circuit_id: str, url: str) -> GraphContent:
    """Return everything that a database stores of a circuit; `ask` must answer from one state throughout.

    Raises:
        InputError: the database has no such circuit.
    """
    at = {"id": circuit_id}
    circuits = ask(_CIRCUIT, at)
    if not circuits:
        raise InputError(f"{url} has no circuit {circuit_id!r}")
    relations = {name: ", ".join(row[0] for row in ask(text, at)) for name, text in _RELATIONS.items()}
    return GraphContent.sorted(
        dict(zip(_PROPERTIES, circuits[0], strict=True)),
        relations,
        _columns("name kind layer head neuron full_in full_out component", ask(_NODES, at)),
        _columns("edge sender receiver port score std rank frequency", ask(_EDGES, at)),
        _columns("above below", ask(_LINKS, at)),
    )


def lease(ask: Ask) -> Lease | None:
    """Return the lease, or None if there is none."""
    owner, until_ms = ask(LEASE, {})[0]
    return None if owner is None else Lease(owner, until_ms)


def check_claim(ask: Ask, owner: str, over: str | None, url: str) -> None:
    """Check that `owner` may take the lease. No one else may change it until the caller has set it.

    Raises:
        StoreBusy: another owner has it.
    """
    held = lease(ask)
    if held and held.owner not in (owner, over) and held.until_ms > time.time() * 1000:
        raise StoreBusy(held.refusal(url))


def check_renewal(ask: Ask, owner: str) -> None:
    """Check that `owner` has the lease. No one else may change it until the caller has set it.

    Raises:
        LeaseLost: it does not, or no longer.
    """
    held = lease(ask)
    if held is None or held.owner != owner:
        raise LeaseLost.to(held.owner if held else None)


def _columns(names: str, rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: [row[i] for row in rows] for i, name in enumerate(names.split())}
