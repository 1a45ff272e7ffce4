"""The lease in a Neo4j database, and the check that the database is still the one that was opened."""

from __future__ import annotations

import threading

import neo4j

from ....errors import StoreUnreachable
from ...faults import fault
from ...lease import LeaseLost
from .. import portable
from ..contract import Lease
from .server import Server, ask_in, rows

CLAIM_S = 60.0
"""Seconds after which the server ends a claim that waits for locks."""

OWNERS = "MATCH (s:Store {singleton: true}) RETURN s.id"

_HELD = "MATCH (s:Store {singleton: true}) SET s.singleton = true RETURN s.id, s.lease_owner"  # locks, like `_LOCK`
_LOCK = "MATCH (s:Store) SET s.singleton = true"  # no one else can change the lease until the transaction ends


class OwnLease:
    """The lease of one connection, checked before each of its commits."""

    def __init__(self, server: Server, store_id: str) -> None:
        self._server, self._store_id = server, store_id
        self._claims = threading.Lock()
        self._owner: str | None = None  # the owner that claimed the lease over this connection
        server.before_commit = self.check

    def held(self) -> Lease | None:
        """Return the lease; see `GraphBackend.lease`."""
        return self._server.read(lambda tx: portable.lease(self._ask(tx)))

    def claim(self, owner: str, until_ms: int, over: str | None) -> None:
        """Take the lease; see `GraphBackend.claim`."""

        @neo4j.unit_of_work(timeout=CLAIM_S)
        def work(tx: neo4j.ManagedTransaction) -> None:
            rows(tx, _LOCK)
            portable.check_claim(self._ask(tx), owner, over, self._server.url)
            rows(tx, portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})
            fault("graph.lease.before")

        self.end_other_writers(owner, over)
        with self._claims:  # `check` compares with one owner
            before, self._owner = self._owner, owner
            try:
                self._server.write(work)
            except BaseException:
                self._owner = before
                raise
        fault("graph.lease.after")

    def renew(self, owner: str, until_ms: int) -> None:
        """Extend the lease; see `GraphBackend.renew`."""

        def work(tx: neo4j.ManagedTransaction) -> None:
            rows(tx, _LOCK)
            portable.check_renewal(self._ask(tx), owner)
            rows(tx, portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})

        self._server.write(work)

    def release(self, owner: str) -> None:
        """Release the lease; see `GraphBackend.release`."""

        def work(tx: neo4j.ManagedTransaction) -> None:
            rows(tx, _LOCK)
            rows(tx, portable.RELEASE, {"owner": owner})
            fault("graph.release.before")

        self._server.unchecked(work)
        self._owner = None
        fault("graph.release.after")

    def end_other_writers(self, owner: str = "", over: str | None = None) -> None:
        """End the transactions of earlier writers, and so release their locks, if the lease may be taken.

        Raises:
            StoreBusy: another owner has the lease, and may be writing.
        """
        self._server.read(lambda tx: portable.check_claim(self._ask(tx), owner, over, self._server.url))
        self._server.end_other_writers()

    def check(self, tx: neo4j.ManagedTransaction) -> None:
        """Check that this is still the store's graph, and that a claimed lease is not lost; holds until the commit.

        Raises:
            StoreUnreachable: the database was emptied or replaced since it was opened.
            LeaseLost: another writer took the lease.
        """
        found = rows(tx, _HELD)
        self._check_ids([row[0] for row in found])
        if self._owner not in (None, found[0][1]):
            raise LeaseLost.to(found[0][1])

    def check_store(self, tx: neo4j.ManagedTransaction) -> None:
        """Check that this is still the store's graph.

        Raises:
            StoreUnreachable: the database was emptied or replaced since it was opened.
        """
        self._check_ids([row[0] for row in rows(tx, OWNERS)])

    def _ask(self, tx: neo4j.ManagedTransaction) -> portable.Ask:
        """Check that this is still the store's graph, and return what asks it for the lease."""
        self.check_store(tx)
        return ask_in(tx)

    def _check_ids(self, ids: list[str]) -> None:
        if ids != [self._store_id]:
            raise StoreUnreachable(f"{self._server.url} no longer holds the graph of store {self._store_id}")
