"""The embedded graph database: LadybugDB in one file, no server."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Self, TypeVar, cast

import ladybug
import pyarrow as pa

from ....circuits import CircuitRecord
from ....errors import StoreError, StoreVersion
from ....results import Table
from ...cypher.schema import SHARED
from ...faults import fault
from ...interrupts import deferred, unbroken
from ...lease import Permit
from ...locks import Lock
from .. import errors, portable
from ..content import GraphContent
from ..contract import GraphBackend, Lease
from ..migrations import check_current, pending
from ..notes import GraphNotes
from ..rows import shared_rows
from ..tables import to_table
from ..urls import path_of
from . import making
from .engine import Engine
from .entities import plain
from .errors import is_unread, query_failed
from .file import (
    connectable,
    doubted,
    engine_files,
    failure,
    lock_for_writing,
    open_for_writing,
    set_aside,
)
from .load import create_shared, load_circuits, replace_notes, replace_similar
from .making import BACKEND
from .seal import seal_of
from .snapshot import Snapshots
from .text import adapted
from .turns import Turns

log = logging.getLogger("circuitstore")

REMOVE_AT_ONCE = 200  # circuits a transaction

T = TypeVar("T")


class LadybugGraph(GraphBackend):
    """A LadybugDB file; its methods are documented in `GraphBackend`.

    A writer keeps the file open and locked. A connection is used for one call: otherwise the engine's caches of
    prepared statements would keep every loaded table. A reader opens the file in separate processes (`Snapshots`), and
    again whenever it has changed. A writer does the same for queries of users (`run`), which may crash the engine.
    These run concurrently with each other and with the writer. If the file changes during one, it is repeated while
    nothing is written.
    """

    def __init__(self, url: str, *, store_id: str, read_only: bool = False, permit: Permit = nullcontext) -> None:
        """Open the file of `ladybug:///absolute/path`; see `open_graph`."""
        self._begin(url, store_id, read_only, permit)
        try:
            self._open()
            check_current(BACKEND, self._read(making.applied), url)
        except BaseException:
            self.close()
            raise

    def _begin(self, url: str, store_id: str, read_only: bool, permit: Permit) -> None:
        self.url, self.read_only, self.notices = url, read_only, ()
        self._path, self._store_id, self._pid, self._permit = path_of(url), store_id, os.getpid(), permit
        self._turns = Turns()
        self._writer: Lock | None = None
        self._database: ladybug.Database | None = None
        self._snapshots = Snapshots(self._path, url, self._pid)
        self._failure: StoreError | None = None  # of a write: the database is not used again
        self._is_ours = False  # until the owner is checked
        self._may_have_leftovers = True  # of a put that was killed or failed; until swept
        self._shared: dict[str, set[str]] = {}  # keys of the shared nodes by label, once read

    @classmethod
    def migrate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> tuple[str, ...]:
        """See `migrate_graph`."""
        graph = cls.__new__(cls)
        graph._begin(url, store_id, False, permit)
        try:
            graph._open()
            for notice in graph.notices:
                log.warning("%s", notice)
            missing = pending(BACKEND, graph._read(making.applied), url)
            with graph._writing("migrate") as connection:
                for migration in missing:
                    making.step(connection, migration, permit)
        finally:
            graph.close()
        return tuple(f"{m.version:04d}_{m.name}" for m in missing)

    @classmethod
    def recreate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> Self:
        """See `recreate_graph`."""
        try:
            graph = cls(url, store_id=store_id, permit=permit)
        except StoreVersion as unreadable:
            path = path_of(url)
            lock = lock_for_writing(path)
            kept = set_aside(path, permit)
            lock.release()
            graph = cls(url, store_id=store_id, permit=permit)
            graph.notices = (f"{unreadable}; it was set aside in {kept}",)
            return graph
        graph.clear()
        return graph

    def put(self, records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> None:
        with self._writing("put") as connection:
            missing = portable.missing(_ask(connection), records, self.url)
            if not missing:
                return
            if self._may_have_leftovers:
                self._sweep(connection)
            self._may_have_leftovers = True
            self._create_shared(connection, missing)
            load_circuits(connection, missing, created_ms, self._permit)
            self._may_have_leftovers = False

    def _create_shared(self, connection: ladybug.Connection, records: Sequence[CircuitRecord]) -> None:
        """Create the models, classes … that do not exist yet."""
        if not self._shared:
            self._shared = {label: {row[0] for row in _rows(connection, _KEYS[label])} for label in SHARED}
        wanted = shared_rows(records)
        missing = {
            label: [row for key, row in rows.items() if key not in self._shared[label]]
            for label, rows in wanted.items()
        }
        if any(missing.values()):
            create_shared(connection, missing, self._permit)
            for label, rows in wanted.items():
                self._shared[label].update(rows)

    def present(self) -> dict[str, str]:
        return {str(id): str(sha256) for id, sha256 in self._read(lambda ask: ask(portable.PRESENT, {}))}

    def remove(self, ids: Collection[str]) -> None:
        wanted = sorted(set(ids))
        for start in range(0, len(wanted), REMOVE_AT_ONCE):  # other threads may run in between
            self._remove(wanted[start : start + REMOVE_AT_ONCE])

    def _remove(self, ids: Sequence[str]) -> None:
        with self._writing("remove") as connection:
            some = {"ids": [row[0] for row in _rows(connection, portable.PRESENT_OF, {"ids": ids})]}
            if not some["ids"]:
                return
            connection.execute("BEGIN TRANSACTION")
            for statement in _REMOVE:
                connection.execute(statement, some)
            fault("graph.remove.before")
            with self._permit():
                connection.execute("COMMIT")
            fault("graph.remove.after")

    def set_similar(self, measure: str, pairs: pa.Table) -> None:
        with self._writing("set_similar") as connection:
            replace_similar(connection, measure, pairs, self._permit)

    def set_notes(self, notes: GraphNotes) -> None:
        with self._writing("set_notes") as connection:
            if any(notes.differences(_ask(connection))):
                replace_notes(connection, notes, self._permit)

    def sweep(self) -> int:
        with self._writing("sweep") as connection:
            return self._sweep(connection)

    def _sweep(self, connection: ladybug.Connection) -> int:
        """Remove leftovers; every node of a visible circuit has one HAS, so two counts show whether there are any."""
        nodes, had = (_rows(connection, text)[0][0] for text in _COUNTS)
        if nodes != had:
            fault("graph.sweep.before")
            with self._permit():
                connection.execute(_SWEEP)
            fault("graph.sweep.after")
        self._may_have_leftovers = False
        return nodes - had

    def content(self, circuit_id: str) -> GraphContent:
        return self._read(lambda ask: portable.content(ask, circuit_id, self.url))

    def run(
        self,
        text: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 10_000,
        max_mib: int = 64,
    ) -> Table:
        values = dict(params or {})
        texts = dict.fromkeys(
            (adapted(text, values), text)
        )  # the original if the adapted text does not parse, so that messages have its positions

        def query(engine: Engine) -> Table:
            failed = RuntimeError()
            for variant in texts:
                try:
                    limits = {"timeout_s": timeout_s, "max_rows": max_rows, "max_bytes": max_mib << 20}
                    columns, rows = engine.ask(variant, values, **limits)
                    return to_table(columns, rows, max_rows, plain)
                except RuntimeError as error:
                    failed = error
                    if not is_unread(error):
                        break
            raise query_failed(failed, text, timeout_s, max_mib, engine.rows) from failed

        with self._explained():
            return self._snapshots.read(query, self._turns.reading)

    def lease(self) -> Lease | None:
        return self._read(portable.lease)

    def claim(self, owner: str, until_ms: int, *, over: str | None = None) -> None:
        with self._writing("claim") as connection:
            portable.check_claim(_ask(connection), owner, over, self.url)
            fault("graph.lease.before")
            with self._permit():
                connection.execute(portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})
            fault("graph.lease.after")

    def renew(self, owner: str, until_ms: int) -> None:
        with self._writing("renew") as connection:
            portable.check_renewal(_ask(connection), owner)
            with self._permit():
                connection.execute(portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})

    def release(self, owner: str) -> None:
        if self._failure is not None:
            return  # the next writer rebuilds the graph, including the lease
        with self._writing("release") as connection:
            fault("graph.release.before")
            connection.execute(portable.RELEASE, {"owner": owner})
            fault("graph.release.after")

    def clear(self) -> None:
        with self._turn(writes="clear"):
            held = self.lease()
            self._shared, self._may_have_leftovers = {}, True
            database = self._opened()
            with doubted(self._path, database):
                database.close()
            making.create(self._path, self._store_id, self._permit)
            self._database = connectable(self._path)
            if held:
                self.claim(held.owner, held.until_ms)

    def close(self) -> None:
        if os.getpid() != self._pid:
            return
        with deferred():
            self._snapshots.close()  # before waiting for a turn, which a query may wait for
            with self._turns.writing():
                if self._database is not None and self._failure is None:
                    fault("graph.close.before")
                    with suppress(RuntimeError), doubted(self._path, self._database):
                        self._database.close()
                        self._seal()
                    fault("graph.close.after")
                if self._writer is not None:
                    self._writer.release()
                self._database = self._writer = None

    def _seal(self) -> None:
        """Store the checksum of the file that was just closed, if the engine left no other files."""
        if self._is_ours and self._writer is not None and engine_files(self._path) == [self._path]:
            with suppress(OSError):  # on a full disk there is no checksum
                self._writer.write(seal_of(self._path))

    def _open(self) -> None:
        """Open the file and check that it is this store's; a writer creates a missing one."""
        if not self.read_only:
            self._writer = lock_for_writing(self._path)
            self._database, self.notices = open_for_writing(self._path, self._writer, self._permit)
            if self._database is None or not self._tables():
                self._make()
        self._check_owner()

    def _make(self) -> None:
        with self._explained():
            if self._database is not None:
                self._database.close()
            making.create(self._path, self._store_id, self._permit)
            self._database = connectable(self._path)

    def _tables(self) -> set[str]:
        return {row[0] for row in self._read(lambda ask: ask(_TABLES, {}))}

    def _check_owner(self) -> None:
        """Check that the database belongs to this store.

        Raises:
            StoreForeign: it belongs to another store, or has other data.
        """
        if not {"Store", "Migration"} <= self._tables():
            raise errors.not_ours(self.url)
        ids = [row[0] for row in self._read(lambda ask: ask(_OWNERS, {}))]
        errors.check_owner(ids, self._store_id, self.url)
        self._is_ours = True

    def _read(self, query: Callable[[portable.Ask], T]) -> T:
        """Return the result of an internal query, on one committed state, without the possibility to write."""
        if self.read_only:
            with self._explained():
                return self._snapshots.read(lambda engine: query(engine.rows))
        with self._turn(), ladybug.Connection(self._opened()) as connection:
            connection.execute("BEGIN TRANSACTION READ ONLY")
            return query(_ask(connection))

    @contextmanager
    def _writing(self, what: str) -> Iterator[ladybug.Connection]:
        """Enter a connection for writing; an error rolls back an open transaction."""
        with self._turn(writes=what):
            database = self._opened()
            with ladybug.Connection(database) as connection, doubted(self._path, database):
                yield connection

    @unbroken
    def _turn(self, *, writes: str | None = None) -> Iterator[None]:
        """Enter a turn of this thread with the writer's database; raise the engine's errors as `StoreError`."""
        if writes and self.read_only:
            raise errors.reading_only(self.url, writes)
        errors.check_usable(self.url, self._pid, True)  # a fork may have inherited a locked lock
        with self._turns.writing() if writes else self._turns.reading():
            errors.check_usable(self.url, self._pid, self._database is not None)
            if writes and self._failure is not None:
                raise self._failure
            with self._explained(writes=writes is not None):
                yield

    def _opened(self) -> ladybug.Database:
        assert self._database is not None
        return self._database

    @contextmanager
    def _explained(self, *, writes: bool = False) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            explained = failure(self._path, error)
            if writes:
                self._failure = explained
            raise explained from error


_OWNERS = "MATCH (s:Store) RETURN s.id"
_TABLES = "CALL show_tables() RETURN name"
_KEYS = {
    "Model": "MATCH (x:Model) RETURN x.id",
    "Dataset": "MATCH (x:Dataset) RETURN x.name",
    "Class": "MATCH (x:Class) RETURN x.key",
    "Condition": "MATCH (x:Condition) RETURN x.key",
    "Recipe": "MATCH (x:Recipe) RETURN x.key",
    "Component": "MATCH (x:Component) RETURN x.key",
}
_REMOVE = (
    "UNWIND $ids AS wanted MATCH (c:Circuit {id: wanted})-[:HAS]->(n:Node) DETACH DELETE n",
    "UNWIND $ids AS wanted MATCH (c:Circuit {id: wanted}) DETACH DELETE c",
)
_COUNTS = ("MATCH (n:Node) RETURN count(*)", "MATCH (:Circuit)-[h:HAS]->(:Node) RETURN count(*)")
_SWEEP = "MATCH (n:Node) WHERE NOT EXISTS { MATCH (:Circuit)-[:HAS]->(n) } DETACH DELETE n"


def _rows(connection: ladybug.Connection, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
    """Return the rows of one statement."""
    return cast(list[list[Any]], cast(ladybug.QueryResult, connection.execute(text, dict(params or {}))).get_all())


def _ask(connection: ladybug.Connection) -> portable.Ask:
    return lambda text, params: _rows(connection, text, params)
