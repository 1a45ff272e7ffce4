"""Circuits that come and go in Neo4j while others read.

The server's isolation is read-committed: a query sees what is committed while it runs, and it looks things up in the
order of its plan. One that has read the edges first, and the circuits after them, meets the circuits of a commit in
between without an edge. So circuits come hidden (`Arriving`), the transactions that run at that time are waited for,
and only then they become `Circuit`: whoever meets one began when all of it was there. They go the same way back
(`neo4j_remove`). Killed in between, the next sweep takes away what is hidden.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import neo4j

from ..faults import fault
from .neo4j_server import Server, rows

GRACE_S = 60.0
"""Seconds for which running queries hold up a writer at most."""

_RUNNING = "SHOW TRANSACTIONS YIELD transactionId, database WHERE database = $database RETURN transactionId"
_ARRIVING = "MATCH (c:Arriving) WHERE c.id IN $ids RETURN c.id"
_PUBLISH = "MATCH (c:Arriving) WHERE c.id IN $ids REMOVE c:Arriving SET c:Circuit"
_RETRACT = "MATCH (c:Arriving) REMOVE c:Arriving SET c:Removed"


def arriving(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> set[str]:
    """Which of these circuits are there, hidden."""
    return {row[0] for row in rows(tx, _ARRIVING, {"ids": ids})}


def publish(server: Server, ids: Sequence[str]) -> None:
    """Make circuits that arrived whole visible, all at once."""

    def work(tx: neo4j.ManagedTransaction) -> None:
        rows(tx, _PUBLISH, {"ids": ids})
        fault("graph.publish.before")

    await_readers(server)
    server.write(work)
    fault("graph.publish.after")


def retract(server: Server) -> None:
    """Give what a killed or failed writer left hidden to the removal."""
    server.write(lambda tx: rows(tx, _RETRACT))


def await_readers(server: Server) -> None:
    """Wait until the transactions that run now have ended, for `GRACE_S` at most."""

    def running() -> set[str]:
        return {row[0] for row in server.write(lambda tx: rows(tx, _RUNNING, {"database": server.database}))}

    deadline = time.monotonic() + GRACE_S
    earlier = running()
    while (earlier := earlier & running()) and time.monotonic() < deadline:
        time.sleep(0.02)
