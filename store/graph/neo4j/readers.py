"""Circuits that come and go in Neo4j while others read.

The server's isolation is read-committed: a query sees what is committed while it runs, and it looks things up in the
order of its plan. One that has read the edges first, and the circuits after them, meets the circuits of a commit in
between without an edge. So circuits come hidden (`Arriving`), the transactions that run at that time are waited for,
and only then they become `Circuit`: whoever meets one began when all of it was there. They go the same way back
(`remove`). Killed in between, the next sweep takes away what is hidden.

The step between hidden and visible cannot be waited out: a query that comes to a circuit from its nodes looks at its
label once for each, before and after that commit. So it is told by two others around it, that it begins (a new `epoch`
of the store) and that it is over, and our own queries are asked again when it fell into them (a sequence lock), in the
same transaction, which the next circuits wait for. So their answers are of whole circuits even where a transaction is
not waited for; a query past this program is not asked again.

A server shows its own transactions, not those of other members of a cluster, and an account without the right to list
them (Enterprise) sees its own alone, without a word that there are others: those are not waited for. Source: Neo4j's
Operations Manual, "Show and terminate transactions".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import neo4j

from ....errors import QueryFailed, StoreBusy
from ...faults import fault
from ...interrupts import safe_point
from .server import WRITER, Server, rows, transactions

T = TypeVar("T")

GRACE_S = 60.0
"""Seconds for which a running transaction holds up a writer at most, once."""

TOLD_S = 5.0
"""Seconds of waiting after which it is told."""

CHANGE_S = 5.0
"""Seconds that the step from hidden to visible takes at most, which is a commit; else its writer was killed."""

TRIES = 4
"""How often a query is asked at most."""

_ARRIVING = "MATCH (c:Arriving) WHERE c.id IN $ids RETURN c.id"
_PUBLISH = "MATCH (c:Arriving) WHERE c.id IN $ids REMOVE c:Arriving SET c:Circuit"
_RETRACT = "MATCH (c:Arriving) REMOVE c:Arriving SET c:Removed"
_CHANGE = "MATCH (s:Store) SET s.epoch = coalesce(s.epoch, 0) + 1, s.changing_since_ms = timestamp()"
_CHANGED = "MATCH (s:Store) REMOVE s.changing_since_ms"
_EPOCH = """
    MATCH (s:Store)
    RETURN s.epoch, s.changing_since_ms, coalesce(timestamp() - s.changing_since_ms < $most, false)"""

log = logging.getLogger("circuitstore")


def arriving(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> set[str]:
    """Which of these circuits are there, hidden."""
    return {row[0] for row in rows(tx, _ARRIVING, {"ids": ids})}


def publish(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> None:
    """Make circuits that arrived whole visible, all at once; the readers have been waited for."""
    rows(tx, _PUBLISH, {"ids": ids})
    changes(tx)


def changes(tx: neo4j.ManagedTransaction) -> None:
    """Tell that circuits become visible or invisible with this transaction."""
    rows(tx, _CHANGE)


@contextmanager
def changing(server: Server) -> Iterator[None]:
    """Around a transaction of `changes`: told before and after it."""
    server.write(_begin)
    fault("graph.changing.after")
    try:
        yield
    finally:
        server.write(_end)
        fault("graph.changed.after")


def _begin(tx: neo4j.ManagedTransaction) -> None:
    changes(tx)
    fault("graph.changing.before")


def _end(tx: neo4j.ManagedTransaction) -> None:
    rows(tx, _CHANGED)
    fault("graph.changed.before")


def retract(server: Server) -> None:
    """Give what a killed or failed writer left hidden to the removal; nothing changes any more."""

    def work(tx: neo4j.ManagedTransaction) -> None:
        rows(tx, _RETRACT)
        rows(tx, _CHANGED)

    server.write(work)


def undisturbed(tx: neo4j.ManagedTransaction, ask: Callable[[], T], url: str) -> T:
    """What `ask` gives in a transaction, asked again if circuits became visible or invisible meanwhile.

    Raises:
        StoreBusy: they did each time.
        QueryFailed: as `ask`; that it was asked again is told.
    """
    for times in range(TRIES):
        before = _settled(tx)
        try:
            answer = ask()
        except QueryFailed as error:
            if times:
                told = f"{error}; as circuits became visible, or went, while it ran, it was asked {times + 1} times"
                raise QueryFailed(told) from error.__cause__
            raise
        if _epoch(tx)[0] == before:
            return answer
    raise StoreBusy(
        f"{url}: circuits became visible, or went, each of the {TRIES} times that this was asked; ask again when less "
        "is written, or at the member of the cluster that is written"
    )


def _settled(tx: neo4j.ManagedTransaction) -> list[list[Any]]:
    """The epoch, when nobody that is alive is about to end it; by the clocks of the server and of this machine."""
    begun, last = time.monotonic(), None
    while True:
        epoch, is_changing = _epoch(tx)
        if epoch != last:
            begun, last = time.monotonic(), epoch
        if not is_changing or time.monotonic() - begun > CHANGE_S:
            return epoch
        time.sleep(0.01)


def _epoch(tx: neo4j.ManagedTransaction) -> tuple[list[list[Any]], bool]:
    """Where the store is, and whether that is about to change."""
    found = rows(tx, _EPOCH, {"most": int(CHANGE_S * 1000)})
    return [row[:2] for row in found], any(row[2] for row in found)


class Readers:
    """The transactions of others in a database, as far as its server shows them to our account.

    Those of writers do not count: nobody sees what they read.
    """

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
            safe_point()

    def _running(self) -> set[str]:
        return self._server.unchecked(lambda tx: {id for id, data in transactions(tx) if WRITER not in data})
