"""Circuits that come and go in Neo4j while others read.

The server's isolation is read-committed: a query sees what is committed while it runs, and it looks things up in the
order of its plan. One that has read the edges first, and the circuits after them, meets the circuits of a commit in
between without an edge. So circuits come hidden (`Arriving`), the transactions that run at that time are waited for,
and only then they become `Circuit`: whoever meets one began when all of it was there. They go the same way back
(`neo4j_remove`). Killed in between, the next sweep takes away what is hidden.

A server shows its own transactions, not those of other members of a cluster, and an account without the right to list
them (Enterprise) sees its own alone, without a word that there are others: those are not waited for. Source: Neo4j's
Operations Manual, "Show and terminate transactions".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import neo4j

from .neo4j_server import Server, rows

GRACE_S = 60.0
"""Seconds for which a running transaction holds up a writer at most, once."""

TOLD_S = 5.0
"""Seconds of waiting after which it is told."""

_RUNNING = "SHOW TRANSACTIONS YIELD transactionId, database RETURN transactionId, database"
_HERE = "CALL db.info() YIELD name RETURN name"
_ARRIVING = "MATCH (c:Arriving) WHERE c.id IN $ids RETURN c.id"
_PUBLISH = "MATCH (c:Arriving) WHERE c.id IN $ids REMOVE c:Arriving SET c:Circuit"
_RETRACT = "MATCH (c:Arriving) REMOVE c:Arriving SET c:Removed"

log = logging.getLogger("circuitstore")


def arriving(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> set[str]:
    """Which of these circuits are there, hidden."""
    return {row[0] for row in rows(tx, _ARRIVING, {"ids": ids})}


def publish(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> None:
    """Make circuits that arrived whole visible, all at once; the readers have been waited for."""
    rows(tx, _PUBLISH, {"ids": ids})


def retract(server: Server) -> None:
    """Give what a killed or failed writer left hidden to the removal."""
    server.write(lambda tx: rows(tx, _RETRACT))


class Readers:
    """The transactions of others in a database, as far as its server shows them to our account."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._outlasted: set[str] = set()

    def await_end(self) -> None:
        """Wait until the transactions that run now have ended, for `GRACE_S` at most, and for none of them again."""
        begun = time.monotonic()
        told = False
        earlier = self._running() - self._outlasted
        while earlier := earlier & self._running():
            waited = time.monotonic() - begun
            if waited > GRACE_S:
                self._outlasted |= earlier
                return
            if waited > TOLD_S and not told:
                told = True
                text = "the graph is written when %d open transactions of others have ended, or in %g s"
                log.warning(text, len(earlier), GRACE_S)
            time.sleep(0.02)

    def _running(self) -> set[str]:
        def ask(tx: neo4j.ManagedTransaction) -> set[str]:
            here = rows(tx, _HERE)[0][0]  # the URL may spell it otherwise
            return {row[0] for row in rows(tx, _RUNNING) if row[1] == here}

        return self._server.write(ask)
