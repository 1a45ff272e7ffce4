"""Removing circuits from Neo4j while others read.

The server's isolation is read-committed: a query that has met a circuit sees its nodes vanish. So circuits are hidden
first (`Circuit` becomes `Removed`), then the transactions that run at that time are waited for, and only then nodes and
relationships go, some at a time. Killed in between, the next sweep goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import neo4j

from ..faults import fault
from .neo4j_server import Server, rows

HIDE_AT_ONCE = 1000
NODES_AT_ONCE = 500
"""Nodes of a transaction; with their relationships they must fit in the server's memory."""

GRACE_S = 60.0
"""Seconds for which a running query holds up the removal at most."""

_HIDE = "UNWIND $ids AS id MATCH (c:Circuit {id: id}) REMOVE c:Circuit SET c:Removed"
_RUNNING = "SHOW TRANSACTIONS YIELD transactionId, database WHERE database = $database RETURN transactionId"
_HIDDEN = "MATCH (c:Removed) RETURN count(c)"
_DELETE = (
    "MATCH (:Removed)-[:HAS]->(n:Node) WITH n LIMIT $most DETACH DELETE n RETURN count(*)",
    "MATCH (c:Removed) WITH c LIMIT $most DETACH DELETE c RETURN count(*)",
)
_DELETE_STRAY = (
    "MATCH (n:Node) WHERE NOT EXISTS { MATCH (:Circuit)-[:HAS]->(n) } "
    "WITH n LIMIT $most DETACH DELETE n RETURN count(*)"
)
_DELETE_SHARED = (
    "MATCH (x:Model|Dataset|Class|Condition|Recipe|Component) WITH x LIMIT $most DETACH DELETE x RETURN count(*)"
)
_COUNTS = ("MATCH (n:Node) RETURN count(n)", "MATCH (:Circuit)-[h:HAS]->() RETURN count(h)")


def hide(server: Server, ids: Sequence[str]) -> None:
    """Make circuits invisible; those that are not there are ignored."""

    def work(tx: neo4j.ManagedTransaction, some: Sequence[str]) -> None:
        rows(tx, _HIDE, {"ids": some})
        fault("graph.remove.before")

    for start in range(0, len(ids), HIDE_AT_ONCE):
        some = ids[start : start + HIDE_AT_ONCE]
        server.write(lambda tx, some=some: work(tx, some))
        fault("graph.remove.after")


def delete_hidden(server: Server) -> None:
    """Delete hidden circuits with their nodes."""
    if server.write(lambda tx: rows(tx, _HIDDEN))[0][0]:
        _await_readers(server)
        for text in _DELETE:
            _repeat(server, text)


def delete_shared(server: Server) -> None:
    """Delete what circuits share; there are no circuits any more."""
    _repeat(server, _DELETE_SHARED)


def sweep(server: Server) -> int:
    """Delete the nodes that no visible circuit has; gives back how many there were.

    Every node of a visible circuit has one HAS, and the server keeps both counts, so that asking costs nothing.
    """
    nodes, had = (server.write(lambda tx, text=text: rows(tx, text))[0][0] for text in _COUNTS)
    delete_hidden(server)
    if server.write(lambda tx: rows(tx, _COUNTS[0]))[0][0] != had:
        _repeat(server, _DELETE_STRAY)
    return nodes - had


def _repeat(server: Server, text: str) -> None:
    """Run a statement that deletes some until nothing is left."""

    def work(tx: neo4j.ManagedTransaction) -> int:
        deleted = rows(tx, text, {"most": NODES_AT_ONCE})[0][0]
        fault("graph.remove.before")
        return deleted

    while server.write(work):
        fault("graph.remove.after")


def _await_readers(server: Server) -> None:
    """Wait until the transactions that run now have ended."""

    def running() -> set[str]:
        return {row[0] for row in server.write(lambda tx: rows(tx, _RUNNING, {"database": server.database}))}

    deadline = time.monotonic() + GRACE_S
    earlier = running()
    while (earlier := earlier & running()) and time.monotonic() < deadline:
        time.sleep(0.02)
