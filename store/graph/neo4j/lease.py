"""The lease in a Neo4j database, and whether the database is still the one that was opened."""

from __future__ import annotations

import neo4j

from ....errors import StoreUnreachable
from ...faults import fault
from ...lease import LeaseLost
from .. import portable
from ..contract import Lease
from .server import Server, ask_in, rows

CLAIM_S = 60.0
"""Seconds after which the server gives up a claim that waits for another's locks."""

OWNERS = "MATCH (s:Store {singleton: true}) RETURN s.id"

_HELD = "MATCH (s:Store {singleton: true}) SET s.singleton = true RETURN s.id, s.lease_owner"  # locks, as `_LOCK`
_LOCK = "MATCH (s:Store) SET s.singleton = true"  # nobody else can change the lease until the transaction ends


class OwnLease:
    """The lease as one connection has it; asked before each of its commits."""

    def __init__(self, server: Server, store_id: str) -> None:
        self._server, self._store_id = server, store_id
        self._owner: str | None = None  # whom the lease was given to by this connection
        server.before_commit = self.check

    def held(self) -> Lease | None:
        """Who holds it; see `GraphBackend.lease`."""
        return self._server.read(lambda tx: portable.lease(ask_in(tx)))

    def claim(self, owner: str, until_ms: int, over: str | None) -> None:
        """Take it; see `GraphBackend.claim`."""

        @neo4j.unit_of_work(timeout=CLAIM_S)
        def work(tx: neo4j.ManagedTransaction) -> None:
            rows(tx, _LOCK)
            portable.check_claim(ask_in(tx), owner, over, self._server.url)
            rows(tx, portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})
            fault("graph.lease.before")

        self.end_other_writers(owner, over)
        before, self._owner = self._owner, owner
        try:
            self._server.write(work)
        except BaseException:
            self._owner = before
            raise
        fault("graph.lease.after")

    def renew(self, owner: str, until_ms: int) -> None:
        """Let it hold for longer; see `GraphBackend.renew`."""

        def work(tx: neo4j.ManagedTransaction) -> None:
            rows(tx, _LOCK)
            portable.check_renewal(ask_in(tx), owner)
            rows(tx, portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})

        self._server.write(work)

    def release(self, owner: str) -> None:
        """Give it back; see `GraphBackend.release`."""

        def work(tx: neo4j.ManagedTransaction) -> None:
            rows(tx, _LOCK)
            held = portable.lease(ask_in(tx))
            if held and held.owner == owner:
                rows(tx, portable.SET_LEASE, {"owner": None, "until_ms": None})
            fault("graph.release.before")

        self._server.unchecked(work)
        self._owner = None
        fault("graph.release.after")

    def end_other_writers(self, owner: str = "", over: str | None = None) -> None:
        """End the transactions of earlier writers, if the lease may be taken: nobody shall wait for their locks.

        Raises:
            StoreBusy: another holds the lease, and may be at work.
        """
        self._server.read(lambda tx: portable.check_claim(ask_in(tx), owner, over, self._server.url))
        self._server.end_other_writers()

    def check(self, tx: neo4j.ManagedTransaction) -> None:
        """Return if this is still the store's graph, and the lease still ours if we had it, until the transaction ends.

        Raises:
            StoreUnreachable: the database was emptied, or exchanged, since it was opened.
            LeaseLost: another writer took the lease.
        """
        found = rows(tx, _HELD)
        self._check_ids([row[0] for row in found])
        if self._owner not in (None, found[0][1]):
            raise LeaseLost.to(found[0][1])

    def check_store(self, tx: neo4j.ManagedTransaction) -> None:
        """Return if this is still the store's graph.

        Raises:
            StoreUnreachable: the database was emptied, or exchanged, since it was opened.
        """
        self._check_ids([row[0] for row in rows(tx, OWNERS)])

    def _check_ids(self, ids: list[str]) -> None:
        if ids != [self._store_id]:
            raise StoreUnreachable(f"{self._server.url} does not hold the graph of store {self._store_id} any more")
