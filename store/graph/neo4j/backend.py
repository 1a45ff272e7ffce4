"""The backend for a Neo4j server, 5.26 or newer, over Bolt."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from itertools import chain, islice, repeat
from typing import Any, Self, TypeVar

import neo4j
import pyarrow as pa
from neo4j.exceptions import Neo4jError

from ....circuits import CircuitRecord
from ....errors import InputError, StoreBusy, StoreDamaged, StoreError, StoreUnreachable, StoreVersion
from ....results import Table
from ...faults import fault
from ...interrupts import holding, unbroken
from ...lease import Permit, is_dead
from .. import errors, portable
from ..content import GraphContent
from ..contract import GraphBackend, Lease
from ..migrations import check_current, migrations, pending
from ..notes import GraphNotes
from ..tables import to_table
from . import making, readers, remove, schema, similar
from . import notes as write_notes
from .account import Account
from .entities import plain
from .errors import ended, query_failed
from .lease import OWNERS, OwnLease
from .limits import Limits
from .load import create_circuits, create_shared, in_groups, load_rows, missing_shared
from .making import BACKEND
from .server import Server, ask_in, rows

TRANSACTIONS_AT_ONCE = 2
"""Number of groups loaded concurrently: one is encoded here while the server creates the other."""

T = TypeVar("T")


class Neo4jGraph(GraphBackend):
    """A database of a Neo4j server; its methods are documented in `GraphBackend`.

    No other store may use the database. The account comes from the caller or the environment, never from the URL.
    """

    engine = BACKEND

    def __init__(
        self,
        url: str,
        *,
        store_id: str,
        read_only: bool = False,
        account: Account | None = None,
        permit: Permit = nullcontext,
    ) -> None:
        """Open the database of `bolt://host:port/database`; see `open_graph`."""
        self._begin(url, store_id, read_only, account, permit)
        try:
            self._open()
            self._check_schema()
        except BaseException:
            self.close()
            raise

    def _begin(self, url: str, store_id: str, read_only: bool, account: Account | None, permit: Permit) -> None:
        self.url, self.read_only, self.notices = url, read_only, ()
        self._store_id, self._pid = store_id, os.getpid()
        self._lock = threading.RLock()  # one thread writes at a time
        self._may_have_leftovers = True  # of a put or remove that was killed or failed; until swept
        server = Server(url, account or Account.of_environment(), read_only=read_only, permit=permit)
        self._server: Server | None = server
        self._lease = OwnLease(server, store_id)
        self._readers = readers.Readers(server)

    @classmethod
    def migrate(
        cls, url: str, *, store_id: str, account: Account | None = None, permit: Permit = nullcontext
    ) -> tuple[str, ...]:
        """See `migrate_graph`."""
        with cls._unchecked(url, store_id, account, permit) as graph:
            missing = pending(BACKEND, graph._read(making.applied), url)
            known = migrations(BACKEND)
            lost = graph._read(lambda tx: schema.missing(tx, [m for m in known if m not in missing]))
            held = graph.lease()
            if (missing or lost) and held and held.until_ms > time.time() * 1000 and not is_dead(held.owner):
                raise StoreBusy(held.refusal(url))
            with graph._writing("migrate") as server:
                schema.repair(server, lost)
                for migration in missing:
                    making.step(server, migration)
        return (*map(str, lost), *(f"{m.version:04d}_{m.name}" for m in missing))

    @classmethod
    def recreate(cls, url: str, *, store_id: str, account: Account | None = None, permit: Permit = nullcontext) -> Self:
        """See `recreate_graph`. A database on a server cannot be set aside: its contents are deleted."""
        with cls._unchecked(url, store_id, account, permit) as graph:
            graph.clear()
            try:
                graph._check_schema()
            except StoreVersion as unreadable:
                with graph._writing("recreate") as server:
                    making.redefine(server)
                notices = (f"{unreadable}; it was emptied and its schema created again",)
            else:
                notices = ()
        again = cls(url, store_id=store_id, account=account, permit=permit)
        again.notices = notices
        return again

    @classmethod
    def _unchecked(cls, url: str, store_id: str, account: Account | None, permit: Permit) -> Self:
        """Open for writing, whatever the version of the schema."""
        graph = cls.__new__(cls)
        graph._begin(url, store_id, False, account, permit)
        try:
            graph._open()
        except BaseException:
            graph.close()
            raise
        return graph

    def put(self, records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> None:
        with self._writing("put") as server:
            missing = server.read(lambda tx: self._missing(tx, records))
            if not missing:
                return
            if self._may_have_leftovers:
                self._sweep(server)
            server.write(lambda tx: self._create_shared(tx, missing))
            fault("graph.shared.after")

            def create(group: Sequence[CircuitRecord]) -> None:
                load = load_rows(group, created_ms)
                again = chain([False], repeat(True))
                try:
                    server.write(lambda tx: self._create(tx, group, load, again=next(again)))
                except StoreDamaged:
                    if server.read(lambda tx: missing_shared(tx, group)):  # it existed a moment ago
                        raise self._lost() from None
                    raise
                fault("graph.commit.after")

            self._may_have_leftovers = True
            with ThreadPoolExecutor(TRANSACTIONS_AT_ONCE) as pool:
                for _ in pool.map(create, in_groups(missing)):
                    pass
            self._readers.await_end()
            with readers.changing(server):
                server.write(lambda tx: self._publish(tx, missing))
                fault("graph.publish.after")
            self._may_have_leftovers = False

    def _create_shared(self, tx: neo4j.ManagedTransaction, records: Sequence[CircuitRecord]) -> None:
        create_shared(tx, records)
        fault("graph.shared.before")

    def _create(
        self, tx: neo4j.ManagedTransaction, group: Sequence[CircuitRecord], load: Mapping[str, Any], *, again: bool
    ) -> None:
        """Create the circuits of a group; if repeated, only missing ones: the answer to a commit may have been lost.

        The check takes three statements per transaction, so the first attempt skips it; `put` has just checked.
        """
        if again:
            wanted = {r.id for r in self._missing(tx, group)}
            wanted -= readers.arriving(tx, [r.id for r in group])
            load = {**load, "circuits": [c for c in load["circuits"] if c["properties"]["id"] in wanted]}
        create_circuits(tx, load)
        fault("graph.commit.before")

    def _publish(self, tx: neo4j.ManagedTransaction, records: Sequence[CircuitRecord]) -> None:
        """Make the circuits visible.

        Raises:
            StoreUnreachable: some of them no longer exist.
        """
        readers.publish(tx, [r.id for r in records])
        if self._missing(tx, records):
            raise self._lost()
        fault("graph.publish.before")

    def _lost(self) -> StoreUnreachable:
        return StoreUnreachable(
            f"{self.url} lost circuits, or what they share, while they were put: it was emptied or another writer took "
            "over; run the same command again"
        )

    def _missing(self, tx: neo4j.ManagedTransaction, records: Sequence[CircuitRecord]) -> list[CircuitRecord]:
        """Return the records that are not in the database; see `portable.missing`.

        Raises:
            StoreUnreachable: the database was emptied or replaced since it was opened.
        """
        self._lease.check_store(tx)
        return portable.missing(ask_in(tx), records, self.url)

    def present(self) -> dict[str, str]:
        return dict(self._read(lambda tx: rows(tx, portable.PRESENT)))

    def remove(self, ids: Collection[str]) -> None:
        with self._writing("remove") as server:
            had_leftovers, self._may_have_leftovers = self._may_have_leftovers, True
            remove.hide(server, sorted(set(ids)))
            remove.delete_hidden(server, self._readers)
            self._may_have_leftovers = had_leftovers

    def set_similar(self, measure: str, pairs: pa.Table) -> None:
        def work(tx: neo4j.ManagedTransaction) -> None:
            similar.replace(tx, measure, pairs)
            readers.changes(tx)
            fault("graph.similar.before")

        with self._writing("set_similar") as server, readers.changing(server):
            server.write(work)
            fault("graph.similar.after")

    def set_notes(self, notes: GraphNotes) -> None:
        def work(tx: neo4j.ManagedTransaction) -> None:
            write_notes.replace(tx, notes)
            readers.changes(tx)
            fault("graph.notes.before")

        with self._writing("set_notes") as server:
            if any(server.read(lambda tx: list(notes.differences(ask_in(tx))))):
                with readers.changing(server):
                    server.write(work)
                    fault("graph.notes.after")

    def sweep(self) -> int:
        with self._writing("sweep") as server:
            return self._sweep(server)

    def _sweep(self, server: Server) -> int:
        readers.retract(server)
        swept = remove.sweep(server, self._readers)
        self._may_have_leftovers = False
        return swept

    def content(self, circuit_id: str) -> GraphContent:
        def ask(tx: neo4j.ManagedTransaction) -> GraphContent:
            found = portable.content(ask_in(tx), circuit_id, self.url)
            if not rows(tx, portable.PRESENT_OF, {"ids": [circuit_id]}):
                raise InputError(f"{self.url} no longer has circuit {circuit_id!r}")
            return found

        return self._read(ask)

    def run(
        self,
        text: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 10_000,
        max_mib: int = 64,
    ) -> Table:
        limits = Limits(self.url, timeout_s, max_mib)

        @neo4j.unit_of_work(timeout=max(timeout_s, 0.001))
        def query(tx: neo4j.ManagedTransaction) -> Table:
            with limits.on(tx):
                return readers.undisturbed(tx, lambda: answer(tx), self.url)

        def answer(tx: neo4j.ManagedTransaction) -> Table:
            try:
                result = tx.run(text, dict(params or {}))  # pyright: ignore[reportArgumentType]
                found = [list(record.values()) for record in islice(result, max_rows + 1)]
                table = to_table(result.keys(), found, max_rows, plain)
                result.consume()
            except Neo4jError as error:
                raise query_failed(error, text, timeout_s) from error
            return table

        try:
            return limits.keep(lambda: self._read(query))
        except StoreError as error:
            if isinstance(error.__cause__, Neo4jError) and ended(error.__cause__):  # after the last row
                raise query_failed(error.__cause__, text, timeout_s) from error.__cause__
            raise

    def lease(self) -> Lease | None:
        self._connected()
        return self._lease.held()

    def claim(self, owner: str, until_ms: int, *, over: str | None = None) -> None:
        self._writable("claim")
        self._lease.claim(owner, until_ms, over)

    def renew(self, owner: str, until_ms: int) -> None:
        self._writable("renew")
        self._lease.renew(owner, until_ms)

    def release(self, owner: str) -> None:
        self._writable("release")
        self._lease.release(owner)

    def clear(self) -> None:
        with self._writing("clear") as server:
            self._may_have_leftovers = True
            remove.hide(server, list(self.present()))
            self._sweep(server)
            remove.delete_shared(server)

    def close(self) -> None:
        if os.getpid() == self._pid and self._server is not None:
            self._server.close()
            self._server = None

    def _open(self) -> None:
        """Check that the database is this store's; a writer creates the schema if it is empty.

        Raises:
            StoreError: the database is empty (read-only).
            StoreForeign: it belongs to another store, or has other data.
        """
        if not self._read(lambda tx: rows(tx, OWNERS)):
            if self._read(lambda tx: rows(tx, _NODES) or schema.is_foreign(tx)):
                raise errors.not_ours(self.url)
            if self.read_only:
                raise errors.no_graph(self.url)
            with self._writing("creating it") as server:
                making.make(server, self._store_id)
        ids = [str(row[0]) for row in self._read(lambda tx: rows(tx, OWNERS))]
        errors.check_owner(ids, self._store_id, self.url)
        if not self.read_only:
            held = self.lease()
            with suppress(StoreBusy):
                self._lease.end_other_writers(over=held.owner if held and is_dead(held.owner) else None)

    def _check_schema(self) -> None:
        """Check that the schema is this program's, and complete.

        Raises:
            StoreVersion: it is not; the message says what to do.
        """
        check_current(BACKEND, self._read(making.applied), self.url)
        self._read(lambda tx: schema.check_whole(tx, migrations(BACKEND), self.url))

    def _read(self, work: Callable[[neo4j.ManagedTransaction], T]) -> T:
        return self._connected().read(work)

    @unbroken
    def _writing(self, what: str) -> Iterator[Server]:
        """Enter the server for writing, one thread at a time."""
        with holding(self._lock):
            yield self._writable(what)

    def _writable(self, what: str) -> Server:
        """Return the server, even while another thread writes, so that the lease can be renewed."""
        if self.read_only:
            raise errors.reading_only(self.url, what)
        return self._connected()

    def _connected(self) -> Server:
        errors.check_usable(self.url, self._pid, self._server is not None)
        assert self._server is not None
        return self._server


_NODES = "MATCH (n) RETURN 1 LIMIT 1"
