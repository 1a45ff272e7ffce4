"""Removing circuits from Neo4j while others read.

The server's isolation is read-committed: a query that has found a circuit would see its nodes vanish. Circuits are
therefore hidden first (`Circuit` becomes `Removed`). The writer waits for the running transactions, then deletes some
circuits at a time: their edges, their nodes, and the `Removed` nodes. The server keeps a transaction in memory, so each
is bounded, including its relationships: a node may have thousands. After a kill, the next sweep continues.
"""

from __future__ import annotations

from collections.abc import Sequence

import neo4j

from ...faults import fault
from ...interrupts import safe_point
from .readers import Readers, changes, changing
from .server import Server, rows

HIDE_AT_ONCE = 1000
CIRCUITS_AT_ONCE = 20
"""Circuits searched for leftovers at once, so that the time does not grow with the number of circuits to remove."""

EDGES_AT_ONCE = 10_000
"""Maximum relationships of a transaction that deletes edges."""

NODES_AT_ONCE = 500
"""Maximum nodes of a transaction that deletes nodes, which have two or three relationships left."""

STRAYS_AT_ONCE = 50_000
"""Nodes without a circuit searched for at once: each search scans all nodes."""

_HIDE = "UNWIND $ids AS id MATCH (c:Circuit {id: id}) REMOVE c:Circuit SET c:Removed"
_HIDDEN = "MATCH (c:Removed) RETURN elementId(c) LIMIT $limit"
_DELETE_EDGES = (
    "UNWIND $ids AS id MATCH (c:Removed) WHERE elementId(c) = id "
    "MATCH (c)-[:HAS]->(:Node)-[e:FEEDS|CONTAINS]->() WITH e LIMIT $limit DELETE e RETURN count(*)"
)
_DELETE_NODES = (
    "UNWIND $ids AS id MATCH (c:Removed) WHERE elementId(c) = id "
    "MATCH (c)-[:HAS]->(n:Node) WITH n LIMIT $limit DETACH DELETE n RETURN count(*)"
)
_DELETE_SIMILAR = (
    "UNWIND $ids AS id MATCH (c:Removed) WHERE elementId(c) = id "
    "MATCH (c)-[s:SIMILAR]-() WITH DISTINCT s LIMIT $limit DELETE s RETURN count(*)"
)
_DELETE_CIRCUITS = "UNWIND $ids AS id MATCH (c:Removed) WHERE elementId(c) = id DETACH DELETE c RETURN count(*)"
_IS_STRAY = "NOT EXISTS { MATCH (:Circuit)-[:HAS]->(n) }"
_STRAYS = f"MATCH (n:Node) WHERE {_IS_STRAY} RETURN elementId(n) LIMIT $limit"
_STRAY = f"UNWIND $ids AS id MATCH (n:Node) WHERE elementId(n) = id AND {_IS_STRAY} "
_DELETE_STRAY_EDGES = _STRAY + "MATCH (n)-[e:FEEDS|CONTAINS]-() WITH DISTINCT e LIMIT $limit DELETE e RETURN count(*)"
_DELETE_STRAY = _STRAY + "DETACH DELETE n RETURN count(*)"
_DELETE_SHARED = (
    "MATCH (x:Model|Dataset|Class|Condition|Recipe|Component|Note) WITH x LIMIT $limit DETACH DELETE x RETURN count(*)"
)
_COUNTS = ("MATCH (n:Node) RETURN count(n)", "MATCH (:Circuit)-[h:HAS]->() RETURN count(h)")


def hide(server: Server, ids: Sequence[str]) -> None:
    """Make circuits invisible; unknown ids are ignored."""

    def work(tx: neo4j.ManagedTransaction, some: Sequence[str]) -> None:
        rows(tx, _HIDE, {"ids": some})
        changes(tx)
        fault("graph.hide.before")

    if not ids:
        return
    with changing(server):
        for start in range(0, len(ids), HIDE_AT_ONCE):
            safe_point()
            some = ids[start : start + HIDE_AT_ONCE]
            server.write(lambda tx, some=some: work(tx, some))
            fault("graph.hide.after")


def delete_hidden(server: Server, readers: Readers) -> None:
    """Delete hidden circuits with their nodes."""
    if _found(server, _HIDDEN, CIRCUITS_AT_ONCE):
        readers.await_end()
    while ids := _found(server, _HIDDEN, CIRCUITS_AT_ONCE):
        _repeat(server, _DELETE_EDGES, EDGES_AT_ONCE, ids)
        _repeat(server, _DELETE_NODES, NODES_AT_ONCE, ids)
        _repeat(server, _DELETE_SIMILAR, EDGES_AT_ONCE, ids)
        _repeat(server, _DELETE_CIRCUITS, CIRCUITS_AT_ONCE, ids)


def _found(server: Server, text: str, limit: int) -> list[str]:
    """Return element ids of up to `limit` nodes that a statement finds."""
    return [row[0] for row in server.unchecked(lambda tx: rows(tx, text, {"limit": limit}))]


def delete_shared(server: Server) -> None:
    """Delete shared nodes; call after all circuits were deleted."""
    _repeat(server, _DELETE_SHARED, NODES_AT_ONCE)


def sweep(server: Server, readers: Readers) -> int:
    """Delete the nodes of no visible circuit, and return their number.

    Every node of a visible circuit has one HAS, and the server maintains both counts, so the check is cheap.
    """
    nodes, had = (server.unchecked(lambda tx, text=text: rows(tx, text))[0][0] for text in _COUNTS)
    delete_hidden(server, readers)
    if server.unchecked(lambda tx: rows(tx, _COUNTS[0]))[0][0] != had:
        _delete_strays(server)
    return nodes - had


def _delete_strays(server: Server) -> None:
    while found := _found(server, _STRAYS, STRAYS_AT_ONCE):
        for start in range(0, len(found), NODES_AT_ONCE):
            ids = found[start : start + NODES_AT_ONCE]
            _repeat(server, _DELETE_STRAY_EDGES, EDGES_AT_ONCE, ids)
            _delete(server, _DELETE_STRAY, NODES_AT_ONCE, ids)


def _repeat(server: Server, text: str, limit: int, ids: Sequence[str] = ()) -> None:
    """Repeat a statement that deletes up to `limit` nodes or relationships until nothing is left."""
    while _delete(server, text, limit, ids) == limit:
        pass


def _delete(server: Server, text: str, limit: int, ids: Sequence[str]) -> int:
    """Delete up to `limit` nodes or relationships in a transaction, and return their number."""
    safe_point()

    def work(tx: neo4j.ManagedTransaction) -> int:
        deleted = rows(tx, text, {"limit": limit, "ids": ids})[0][0]
        fault("graph.remove.before")
        return deleted

    deleted = server.write(work)
    fault("graph.remove.after")
    return deleted
