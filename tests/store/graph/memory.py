"""A minimal backend, as another package would write it: an engine with Cypher, without a file.

The engine is LadybugDB in memory, so rows are loaded as in the embedded backend; the rest uses only what the store
provides for every backend. Databases belong to this process, by their URL, and end with it.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Self, TypeVar, cast

import ladybug
import pyarrow as pa
from circuitstore.circuits import CircuitRecord
from circuitstore.errors import QueryFailed
from circuitstore.results import Table
from circuitstore.store.cypher.schema import SHARED
from circuitstore.store.graph import errors, portable
from circuitstore.store.graph.content import GraphContent
from circuitstore.store.graph.contract import GraphBackend, Lease
from circuitstore.store.graph.ladybug.entities import plain
from circuitstore.store.graph.ladybug.load import create_shared, load_circuits, replace_notes, replace_similar
from circuitstore.store.graph.ladybug.text import adapted
from circuitstore.store.graph.migrations import migrations
from circuitstore.store.graph.notes import GraphNotes
from circuitstore.store.graph.rows import shared_rows
from circuitstore.store.graph.tables import to_table
from circuitstore.store.lease import Permit

T = TypeVar("T")
databases: dict[str, ladybug.Database] = {}
_turn = threading.RLock()

_KEYS = {label: f"MATCH (x:{label}) RETURN x.{schema.names[0]}" for label, schema in SHARED.items()}
_STRAY = "MATCH (n:Node) WHERE NOT EXISTS { MATCH (:Circuit)-[:HAS]->(n) }"
_REMOVE = (
    "UNWIND $ids AS id MATCH (c:Circuit {id: id})-[:HAS]->(n:Node) DETACH DELETE n",
    "UNWIND $ids AS id MATCH (c:Circuit {id: id}) DETACH DELETE c",
)


class MemoryGraph(GraphBackend):
    """See `GraphBackend`. The URL is `memory://NAME`."""

    def __init__(self, url: str, *, store_id: str, read_only: bool = False, permit: Permit = nullcontext) -> None:
        self.url, self.read_only, self._pid, self._open = url, read_only, os.getpid(), True
        self._permit = permit
        self._owner: str | None = None
        if url not in databases:
            if read_only:
                raise errors.no_graph(url)
            databases[url] = made(store_id)
        tables = self._read(lambda ask: {row[0] for row in ask("CALL show_tables() RETURN name", {})})
        if "Store" not in tables:
            raise errors.not_ours(url)
        ids = self._read(lambda ask: [row[0] for row in ask("MATCH (s:Store) RETURN s.id", {})])
        errors.check_owner(ids, store_id, url)

    @classmethod
    def migrate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> tuple[str, ...]:
        cls(url, store_id=store_id).close()
        return ()  # created by this program, the only one that can access it

    @classmethod
    def recreate(cls, url: str, *, store_id: str, permit: Permit = nullcontext) -> Self:
        graph = cls(url, store_id=store_id, permit=permit)
        graph.clear()
        return graph

    def put(self, records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> None:
        with self._writing("put") as (connection, ask):
            if missing := portable.missing(ask, records, self.url):
                ask(f"{_STRAY} DETACH DELETE n", {})  # of a group that failed halfway
                known = {label: {row[0] for row in ask(text, {})} for label, text in _KEYS.items()}
                shared = shared_rows(missing).items()
                lacking = {at: [row for key, row in new.items() if key not in known[at]] for at, new in shared}
                create_shared(connection, lacking, self._permit)
                load_circuits(connection, missing, created_ms, self._permit)

    def present(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self._read(lambda ask: ask(portable.PRESENT, {}))}

    def remove(self, ids: Collection[str]) -> None:
        with self._writing("remove") as (connection, ask):
            connection.execute("BEGIN TRANSACTION")
            for text in _REMOVE:
                ask(text, {"ids": sorted(ids)})
            with self._permit():
                connection.execute("COMMIT")

    def set_similar(self, measure: str, pairs: pa.Table) -> None:
        with self._writing("set_similar") as (connection, _):
            replace_similar(connection, measure, pairs, self._permit)

    def set_notes(self, notes: GraphNotes) -> None:
        with self._writing("set_notes") as (connection, ask):
            if any(notes.differences(ask)):
                replace_notes(connection, notes, self._permit)

    def sweep(self) -> int:
        with self._writing("sweep") as (_, ask):
            stray = ask(f"{_STRAY} RETURN count(*)", {})[0][0]
            with self._permit():
                ask(f"{_STRAY} DETACH DELETE n", {})
        return stray

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
        with self._connection() as connection:
            connection.execute("BEGIN TRANSACTION READ ONLY")
            connection.set_query_timeout(round(timeout_s * 1000))
            try:
                result = cast(ladybug.QueryResult, connection.execute(adapted(text, values), values))
            except RuntimeError as error:
                if "Interrupted" in str(error):
                    raise errors.too_long(timeout_s) from error
                raise QueryFailed(f"{text!r}: {error}") from error
            rows = cast(list[list[Any]], result.get_n(max_rows + 1))
            if len(pickle.dumps(rows)) > max_mib << 20:  # only afterwards: this engine runs in this process
                raise errors.too_large(max_mib)
            return to_table(result.get_column_names(), rows, max_rows, plain)

    def lease(self) -> Lease | None:
        return self._read(portable.lease)

    def claim(self, owner: str, until_ms: int, *, over: str | None = None) -> None:
        with self._writing("claim") as (_, ask):
            portable.check_claim(ask, owner, over, self.url)
            with self._permit():
                ask(portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})
            self._owner = owner

    def renew(self, owner: str, until_ms: int) -> None:
        with self._writing("renew") as (_, ask):
            portable.check_renewal(ask, owner)
            with self._permit():
                ask(portable.SET_LEASE, {"owner": owner, "until_ms": until_ms})

    def release(self, owner: str) -> None:
        with self._writing("release") as (_, ask):
            ask(portable.RELEASE, {"owner": owner})
        self._owner = None

    def clear(self) -> None:
        with self._writing("clear") as (_, ask):
            for label in ("Circuit", "Node", "Note", *SHARED):
                with self._permit():
                    ask(f"MATCH (x:{label}) DETACH DELETE x", {})

    def close(self) -> None:
        self._open = False

    @contextmanager
    def _connection(self) -> Iterator[ladybug.Connection]:
        errors.check_usable(self.url, self._pid, self._open)
        with ladybug.Connection(databases[self.url]) as connection:
            yield connection

    def _read(self, question: Callable[[portable.Ask], T]) -> T:
        with _turn, self._connection() as connection:
            connection.execute("BEGIN TRANSACTION READ ONLY")
            return question(_asked_of(connection))

    @contextmanager
    def _writing(self, what: str) -> Iterator[tuple[ladybug.Connection, portable.Ask]]:
        if self.read_only:
            raise errors.reading_only(self.url, what)
        with _turn, self._connection() as connection:
            ask = _asked_of(connection)
            if self._owner and what not in ("claim", "release"):
                portable.check_renewal(ask, self._owner)  # no other thread has a turn until this one ends
            yield connection, ask


def _asked_of(connection: ladybug.Connection) -> portable.Ask:
    def ask(text: str, params: Mapping[str, Any]) -> list[list[Any]]:
        return cast(list[list[Any]], cast(ladybug.QueryResult, connection.execute(text, dict(params))).get_all())

    return ask


def empty() -> ladybug.Database:
    return ladybug.Database(":memory:", max_db_size=1 << 36, buffer_pool_size=1 << 27)


def made(store_id: str) -> ladybug.Database:
    """Return an empty graph of a store."""
    database = empty()
    with ladybug.Connection(database) as connection:
        for migration in migrations("ladybug"):
            for statement in migration.statements:
                connection.execute(statement)
        connection.execute("CREATE (:Store {id: $id})", {"id": store_id})
    return database
