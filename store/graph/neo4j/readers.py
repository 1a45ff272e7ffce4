"""Adding and removing circuits in Neo4j while others read.

The server's isolation is read-committed: a query sees commits made while it runs, and reads in the order of its plan. A
query that reads the edges first and the circuits afterwards would find the circuits of a commit in between without
edges. Circuits are therefore created hidden (`Arriving`). The writer then waits for the running transactions to end,
and only then makes them `Circuit`: every transaction that finds one began after it was complete. Removal is the reverse
(`remove`). If the writer is killed in between, the next sweep removes hidden circuits.

Waiting does not help for the step from hidden to visible: a query that reaches a circuit from its nodes reads its label
once per node, before and after that commit. So two other commits around it announce its begin (a new `epoch` of the
store) and its end, and a query of this program is repeated if the step happened during it (a sequence lock). The
repetition is in the same transaction, which the next circuits wait for. The answers therefore contain whole circuits
even if the writer does not wait for a transaction; queries of other programs are not repeated.

A server shows its own transactions, not those of other members of a cluster. An account without the privilege to list
them (Enterprise) sees only its own, without an error. The writer does not wait for the others. Source: Neo4j's
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
"""Maximum seconds that a writer waits for a running transaction, once."""

LOGGED_S = 5.0
"""Seconds of waiting after which a warning is logged."""

CHANGE_S = 5.0
"""Maximum seconds of the step from hidden to visible, which is one commit; after that, its writer was killed."""

TRIES = 4
"""Maximum number of times that a query runs."""

_ARRIVING = "MATCH (c:Arriving) WHERE c.id IN $ids RETURN c.id"
_PUBLISH = "MATCH (c:Arriving) WHERE c.id IN $ids REMOVE c:Arriving SET c:Circuit"
_RETRACT = "MATCH (c:Arriving) REMOVE c:Arriving SET c:Removed"
_CHANGE = "MATCH (s:Store) SET s.epoch = coalesce(s.epoch, 0) + 1, s.changing_since_ms = timestamp()"
_CHANGED = "MATCH (s:Store) REMOVE s.changing_since_ms"
_EPOCH = """
    MATCH (s:Store)
    RETURN s.epoch, s.changing_since_ms, coalesce(timestamp() - s.changing_since_ms < $max_ms, false)"""

log = logging.getLogger("circuitstore")


def arriving(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> set[str]:
    """Return which of these circuits exist hidden."""
    return {row[0] for row in rows(tx, _ARRIVING, {"ids": ids})}


def publish(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> None:
    """Make complete hidden circuits visible, all at once; call after waiting for the readers."""
    rows(tx, _PUBLISH, {"ids": ids})
    changes(tx)


def changes(tx: neo4j.ManagedTransaction) -> None:
    """Record that this transaction makes circuits visible or invisible."""
    rows(tx, _CHANGE)


@contextmanager
def changing(server: Server) -> Iterator[None]:
    """Announce a transaction of `changes` before and after it."""
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
    """Mark what a killed or failed writer left hidden as removed, and end its announced change."""

    def work(tx: neo4j.ManagedTransaction) -> None:
        rows(tx, _RETRACT)
        rows(tx, _CHANGED)

    server.write(work)


def undisturbed(tx: neo4j.ManagedTransaction, ask: Callable[[], T], url: str) -> T:
    """Return the result of `ask` in a transaction, repeated if circuits became visible or invisible meanwhile.

    Raises:
        StoreBusy: they did each time.
        QueryFailed: raised by `ask`; the message says how often it ran.
    """
    for times in range(TRIES):
        before = _settled(tx)
        try:
            answer = ask()
        except QueryFailed as error:
            if times:
                text = f"{error}; it ran {times + 1} times, because circuits were added or removed meanwhile"
                raise QueryFailed(text) from error.__cause__
            raise
        if _epoch(tx)[0] == before:
            return answer
    raise StoreBusy(
        f"{url}: circuits were added or removed each of the {TRIES} times that this query ran; run it again when less "
        "is written, or on the cluster member that is written to"
    )


def _settled(tx: neo4j.ManagedTransaction) -> list[list[Any]]:
    """Return the epoch, after waiting for a change in progress; by the clocks of the server and of this machine."""
    begun, last = time.monotonic(), None
    while True:
        epoch, is_changing = _epoch(tx)
        if epoch != last:
            begun, last = time.monotonic(), epoch
        if not is_changing or time.monotonic() - begun > CHANGE_S:
            return epoch
        time.sleep(0.01)


def _epoch(tx: neo4j.ManagedTransaction) -> tuple[list[list[Any]], bool]:
    """Return the epoch of the store, and whether a change is in progress."""
    found = rows(tx, _EPOCH, {"max_ms": int(CHANGE_S * 1000)})
    return [row[:2] for row in found], any(row[2] for row in found)


class Readers:
    """The transactions of readers in a database, as far as the server shows them to the account.

    Those of writers are excluded, because their reads are not shown to users.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._outlasted: set[str] = set()

    def await_end(self) -> None:
        """Wait up to `GRACE_S` until the running transactions have ended; never wait for the same one again."""
        begun = time.monotonic()
        is_logged = False
        earlier = self._running() - self._outlasted
        while earlier := earlier & self._running():
            waited = time.monotonic() - begun
            if waited > GRACE_S:
                self._outlasted |= earlier
                return
            if waited > LOGGED_S and not is_logged:
                is_logged = True
                text = "waiting to write the graph until %d open transactions of others have ended, for %g s at most"
                log.warning(text, len(earlier), GRACE_S)
            time.sleep(0.02)
            safe_point()

    def _running(self) -> set[str]:
        return self._server.unchecked(lambda tx: {id for id, data in transactions(tx) if WRITER not in data})
