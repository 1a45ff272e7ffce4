"""A store, open for reading: tables of what is there, circuits and scores, queries of the graph."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from ..circuits import CircuitRecord, Discovery
from ..errors import StoreBusy, StoreDamaged, StoreError, StoreMissing
from ..results import Table
from . import fence, files, ledger, listing, salvage
from .archive import IDENTITY, Archive
from .catalog import Catalog
from .graph import migrate_graph, open_graph
from .graph.account import Account
from .graph.clauses import read
from .graph.guard import check_read_only
from .graph.names import check_names, check_parameters
from .graph.values import check_text, limits, plain_params
from .interrupts import deferred
from .keeper import Keeper
from .lease import LeaseLost, is_dead, now_ms
from .location import Location
from .salvage import Listed
from .tables import SCHEMA
from .verify import differences
from .writer import PARENTS, Writer

if TYPE_CHECKING:
    from .graph.contract import GraphBackend


def open_store(
    location: str | Path | None = None,
    *,
    graph: str | None = None,
    catalog: str | None = None,
    account: Account | None = None,
) -> Store:
    """Open a store to read it; nothing in it is changed unless a `Store.writer` is asked for.

    Args:
        location: its folder; default `./circuitstore-data`.
        graph: URL of its graph, where that is not in the folder (`neo4j://…`, `bolt://…`, `ladybug:///…`).
        catalog: URL of its catalog, where that is not in the folder (`sqlite:///…`; `postgresql+psycopg://…` with
            the extra `postgres`).
        account: of the graph's server; by default the one in the environment (`CIRCUITSTORE_NEO4J_USER`,
            `CIRCUITSTORE_NEO4J_PASSWORD`).

    Raises:
        StoreError: there is no store, or it cannot be opened; StoreDamaged: a part of it is lost.
        StoreVersion: it was written by another version of circuitstore.
    """
    place = Location.of(location, graph=graph, catalog=catalog, account=account)
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=True)
    _refuse_unfinished(database)
    if _is_nothing(database):
        raise StoreMissing(_no_store(place)) if archive.identity is None else _lost_catalog(place, database)
    database.check_version()
    return Store(place, database, _agreed_id(archive, database))


def create_store(
    location: str | Path | None = None,
    *,
    graph: str | None = None,
    catalog: str | None = None,
    account: Account | None = None,
) -> Store:
    """Open a store, making what is missing of it. Arguments and errors as for `open_store`.

    A store whose making was interrupted is completed.

    Raises:
        StoreDamaged: the catalog is lost, and the archive holds what only `rebuild_store` can enter in a new one.
    """
    place = Location.of(location, graph=graph, catalog=catalog, account=account)
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=True)
    _refuse_unfinished(database)
    full = archive.identity is not None and archive.holds_anything()
    if full and (_is_nothing(database) or database.version() is None or database.store_id() is None):
        raise _lost_catalog(place, database)
    return _made(place)


def _made(place: Location) -> Store:
    """The store at a place, with all that is missing of it made, empty."""
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=False)
    files.ensure_folder(place.folder)
    if database.file is not None:
        files.ensure_folder(database.file.parent)
    if database.version() is None:
        database.upgrade()
    database.check_version()
    with database.writing() as connection:
        ledger.enter_store(connection, archive.identity or uuid.uuid4().hex)
    id = _agreed_id(archive, database)
    if archive.identity is None:
        archive.make(id)
    return Store(place, Catalog(place.catalog, read_only=True), id)


def migrate_store(
    location: str | Path | None = None,
    *,
    graph: str | None = None,
    catalog: str | None = None,
    account: Account | None = None,
) -> Table:
    """Bring the catalog and the graph of a store up to date; columns `part, what`.

    A graph that had to be made anew, since it was lost or a write to it had failed, is filled from the archive.

    Raises:
        StoreError: there is no store; StoreBusy: another process writes.
        StoreVersion: it is newer than this version of circuitstore.
    """
    place = Location.of(location, graph=graph, catalog=catalog, account=account)
    database = Catalog(place.catalog, read_only=False)
    _refuse_unfinished(database)
    if database.file is not None and not database.file.is_file():
        raise StoreMissing(_no_store(place))
    found = database.version()
    if found is None or found > SCHEMA:
        database.check_version()
    with deferred():
        keeper = Keeper(database, place.folder)  # the table of leases is the same in all versions
        try:
            database.upgrade(keeper.writing)
            id = _agreed_id(Archive(place.archive), database)
            applied = migrate_graph(place.graph, store_id=id, account=place.account, permit=keeper.permit)
        finally:
            keeper.release()
    with Store(place, Catalog(place.catalog, read_only=True), id) as store:
        try:
            with store.writer():
                pass  # which fills in what the graph lacks
        except LeaseLost:
            raise
        except StoreBusy:
            pass  # another writer was faster, and does so
    said = ["up to date" if found == SCHEMA else f"from {found} to {SCHEMA}", ", ".join(applied) or "up to date"]
    return Table(pd.DataFrame({"part": ["catalog", "graph"], "what": said}))


def rebuild_store(
    location: str | Path | None = None,
    *,
    graph: str | None = None,
    catalog: str | None = None,
    account: Account | None = None,
    wait_s: float = 0.0,
) -> Table:
    """`Writer.rebuild` of a store whose catalog or graph may be lost or damaged, or whose graph of another version.

    A damaged catalog file is set aside and made again, with what could be read of it; a damaged or lost file that
    names the store in the archive is written again.

    Raises:
        StoreError: there is no store; StoreBusy: another process writes.
        StoreVersion: the catalog or the archive is of another version.
    """
    place = Location.of(location, graph=graph, catalog=catalog, account=account)
    database, archive = Catalog(place.catalog, read_only=True), Archive(place.archive)
    if _is_nothing(database) and not archive.folder.is_dir():
        raise StoreMissing(_no_store(place))
    old = _mend(place, archive, database)
    with _made(place) as store, store.writer(wait_s, anew=True) as writer:
        for notice in old.notices if old else ():
            writer.say(notice)
        counts = writer.rebuild(old)
    if database.file is not None:
        salvage.finish(database.file)
    return counts


def _mend(place: Location, archive: Archive, database: Catalog) -> Listed | None:
    """Set a damaged catalog aside and name the store in its archive again; returns what could be read of the catalog.

    Raises:
        StoreDamaged: the archive is lost as well.
    """
    old, file = None, database.file
    known = archive.identity_in_runs()
    with suppress(StoreDamaged):
        known = archive.identity or known
    if file is not None:
        if not archive.folder.is_dir() and (reason := salvage.damage(file, known)):
            raise StoreDamaged(
                f"{file} is damaged ({reason}), and there is no archive in {archive.folder} to make it from; "
                "give the right folder with --store FOLDER, or put both back from a backup"
            )
        old = salvage.salvaged(file, place.folder, known)
    if _names_no_store(archive):
        if known is None:
            known = old.store if old else None if _is_nothing(database) else database.store_id()
        with fence.closed(place.folder):
            archive.make(known or uuid.uuid4().hex)
    return old


def _names_no_store(archive: Archive) -> bool:
    """Whether there is an archive whose file that names its store is damaged or lost."""
    try:
        return archive.identity is None and archive.holds_anything()
    except StoreDamaged:
        return True


def _is_nothing(database: Catalog) -> bool:
    """Whether there is no file, or no table on the server."""
    return database.version() is None if database.file is None else not database.file.is_file()


def _refuse_unfinished(database: Catalog) -> None:
    """Raises `StoreDamaged` where a rebuild has set a damaged catalog aside and not yet replaced it."""
    if database.file is not None and (kept := salvage.unfinished(database.file)):
        raise StoreDamaged(
            f"the catalog {database.file} was damaged, and making it again from the archive has not ended; if no "
            f"circuitstore rebuild is at work, run it again (what could be read is in {kept})"
        )


def _lost_catalog(place: Location, database: Catalog) -> StoreDamaged:
    return StoreDamaged(
        f"the catalog {database.file or database.url} is missing or empty, the archive {place.archive} is there; "
        "put it back from a backup, or make it anew from the archive with: circuitstore rebuild"
    )


def _no_store(place: Location) -> str:
    what = ", which is a file, and a store is a folder" if place.folder.is_file() else ""
    return (
        f"there is no store at {place.folder}{what}; choose another with --store FOLDER, "
        "or make one with: circuitstore index SPEC.toml (or circuitstore demo)"
    )


def _agreed_id(archive: Archive, catalog: Catalog) -> str:
    """The id on which archive and catalog agree.

    Raises:
        StoreDamaged: the archive of a catalog that lists discoveries is not there.
        StoreError: the two belong to different stores.
    """
    theirs, ours = archive.identity, catalog.store_id()
    if theirs is not None and ours is not None and theirs != ours:
        raise StoreError(
            f"catalog {catalog.url} belongs to store {ours}, archive {archive.folder} to store {theirs}; "
            "give the folder and the catalog of one store"
        )
    if theirs is None and archive.holds_anything():
        raise StoreDamaged(f"{archive.folder / IDENTITY} is missing; run: circuitstore rebuild, which writes it again")
    if theirs is None and catalog.lists_anything():
        raise StoreDamaged(
            f"catalog {catalog.url} lists what should be in {archive.folder}, and that is not there; "
            "give the right folder with --store FOLDER, or put the archive back from a backup"
        )
    id = theirs or ours
    if id is None:
        raise StoreError(
            f"the making of the store with catalog {catalog.url} was interrupted; run the same command again"
        )
    return id


_IMAGE_COLUMNS = [
    "split", "hash", "file", "attacked_hash", "attacked_file", "against", "against_hash", "against_file",
]  # fmt: skip


class Store:
    """A store, read-only. A context manager; `close` lets go of the graph.

    May be used from several threads. A forked process may go on reading: it opens the graph anew.

    Attributes:
        location: where its parts are.
        id: tells it from other stores; archive, catalog and graph carry the same.
        archive: its files.
        catalog: its SQL database, read-only.
    """

    def __init__(self, location: Location, catalog: Catalog, id: str) -> None:
        self.location, self.catalog, self.id = location, catalog, id
        self.archive = Archive(location.archive)
        self._graph: GraphBackend | None = None
        self._writer: Writer | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"Store({str(self.location.folder)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the graph; calling again does nothing."""
        with self._lock:
            if self._graph is not None and self._pid == os.getpid():
                self._graph.close()
            self._graph = None

    @property
    def graph(self) -> GraphBackend:
        """The graph database; read-only, or the writer's while there is one.

        Raises:
            StoreError: it is missing, damaged, another store's, or cannot be reached.
        """
        with self._lock:
            if self._pid != os.getpid():
                PARENTS.append((self._graph, self._writer))
                self._graph, self._writer, self._pid = None, None, os.getpid()
            if self._writer is not None:
                return self._writer.graph
            if self._graph is None:
                place = self.location
                self._graph = open_graph(place.graph, read_only=True, store_id=self.id, account=place.account)
            return self._graph

    def runs(self) -> pd.DataFrame:
        """Runs, oldest first: `run, items, done, leased, failed, wanted, circuits, circuits_wanted, created_ms,
        changed_ms, spec`. `done` items have their discovery; `circuits` of the `circuits_wanted` are stored;
        `changed_ms` is when the run or one of its items last changed."""
        with self.catalog.reading() as connection:
            return listing.runs(connection)

    def items(self, run: str | None = None, state: str | None = None) -> pd.DataFrame:
        """Work items: `id, state, error, attempts, model, dataset, class, class_index, condition, method, form,
        corruption, metric, changed_ms`, in the run's order.

        Args:
            state: `wanted`, `leased`, `done` or `failed`.

        Raises:
            InputError: no such run or state.
        """
        with self.catalog.reading() as connection:
            return listing.items(connection, run, state)

    def circuits(self, run: str | None = None, *, columns: Sequence[str] | None = None, **equals: Any) -> pd.DataFrame:
        """Circuits, sorted by class, condition and recipe.

        Columns: `CircuitRecord.properties`, `question`, `discovery_id`, `created_ms`; `newest`: whether no later
        circuit, of the run if one is given, answers the same question; `counts`: whether it is the newest and has no
        flag.

        Args:
            columns: only these.
            equals: columns and the value, or list of values, that they must have, such as `class_index=3`,
                `attack=["natural", "typographic"]`, `counts=True`, `**{"class": "3"}`.

        Raises:
            InputError: no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.circuits(connection, run, equals, columns)

    def count_circuits(self, columns: Sequence[str], run: str | None = None) -> pd.DataFrame:
        """How many circuits, of the run if one is given, have the same values in some of `circuits`' columns.

        Columns: these, and `circuits`.

        Raises:
            InputError: no such run or column.
        """
        with self.catalog.reading() as connection:
            return listing.count_circuits(connection, columns, run)

    def circuit_id(self, start: str) -> str:
        """The id of the one circuit whose id begins so.

        Raises:
            InputError: no circuit, or several.
        """
        with self.catalog.reading() as connection:
            return listing.resolve(connection, "circuit", start)

    def writing_process(self) -> str | None:
        """Which process writes now, in words; None when none does."""
        with self.catalog.reading() as connection:
            held = ledger.holder(connection)
        return None if held is None or held[1] < now_ms() or is_dead(held[0]) else held[0]

    def circuit(self, id: str) -> CircuitRecord:
        """A circuit by its id, or by the first digits of it if no other begins so.

        Scores and deviations are those of all edges, from its discovery; frequencies are NaN outside it.

        Raises:
            InputError: no circuit, or several.
            StoreDamaged: its file is missing or damaged.
        """
        id = self.circuit_id(id)
        try:
            record, _ = self.archive.circuit(id)
            if record.circuit.score is None or not self.archive.has("discovery", record.discovery_id):
                return record
            scores = self.archive.discovery(record.discovery_id, per_image=False)[0].scores
        except StoreDamaged:
            self.circuit_id(id)  # the writer may have removed it meanwhile: then that is what is told
            raise
        if scores is None:
            return record
        return replace(record, circuit=record.circuit.scored(scores))

    def discovery(self, id: str) -> Discovery:
        """A discovery by its id, or by the first digits of it if no other begins so. Errors as for `circuit`."""
        id = self._discovery_id(id)
        try:
            return self.archive.discovery(id)[0]
        except StoreDamaged:
            self._discovery_id(id)  # likewise
            raise

    def images(self, id: str) -> Table:
        """The images behind a discovery or circuit, given by its id or the first digits of it.

        Columns `split` (`discovery`, `selection`, `report`), `hash` (SHA-256 of the content), `file`; `attacked_hash`,
        `attacked_file` of its attacked twin; and of the image that it is contrasted with `against` (its class),
        `against_hash`, `against_file`. Missing where attacked or corrupted images come from no other file. In the order
        of the scores per image. Errors as for `circuit`.
        """
        with self.catalog.reading() as connection:
            id = listing.resolve_discovery(connection, id)
        found, _ = self.archive.discovery(id, per_image=False)
        rows = found.provenance.get("images") or [{"split": "discovery", "hash": hash_} for hash_ in found.images]
        return Table(pd.DataFrame(rows, columns=_IMAGE_COLUMNS))

    def _discovery_id(self, id: str) -> str:
        with self.catalog.reading() as connection:
            return listing.resolve(connection, "discovery", id)

    def members(self, circuit_ids: Sequence[str]) -> Bool[np.ndarray, "circuit edge"]:
        """Member edges of circuits on one graph, in flat edge order. Ids in full; errors as for `circuit`."""
        return self.archive.members(circuit_ids)

    def scores(self, discovery_ids: Sequence[str]) -> Float[np.ndarray, "discovery edge"]:
        """Mean scores (float32) of discoveries on one graph; scores per image are not read. Ids in full."""
        return self.archive.scores(discovery_ids)

    def query(
        self,
        cypher: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 10_000,
        max_mib: int = 64,
    ) -> Table:
        """Rows of a Cypher query that only reads; the same from every engine, or refused by all.

        Args:
            params: values by name: text, numbers, truth values, None, and lists of them; those of NumPy, pandas, torch
                and Arrow as well, and Decimal, UUID, paths, enumerations and times with a zone (milliseconds).
            timeout_s: seconds after which the query is ended, and within one more told so.
            max_rows: rows after which the answer is cut, with a note.
            max_mib: how large an answer may be, as it is sent by the engine.

        Raises:
            QueryRefused: it could write, or reach files or the network, or no timeout would end it.
            InputError: a parameter has no value, a value no parameter or no meaning; a limit is out of range.
            QueryFailed: it does not parse, names what is not in the schema, compares what has different kinds, ran out
                of time or memory, or its answer is too large.
        """
        check_text(cypher)
        within = limits(timeout_s, max_rows, max_mib)
        check_read_only(cypher)
        values = plain_params(params)
        check_parameters(cypher, values)
        check_names(cypher)
        columns = read(cypher, values).columns
        table = self.graph.run(cypher, values, **within)
        return table if columns is None else table.renamed(columns)

    def verify(self) -> Table:
        """Holds archive, catalog and graph against each other: `part, kind, id, what, remedy`, a row a difference.

        No rows: the store is sound.
        """
        return differences(self)

    @contextmanager
    def writer(self, wait_s: float = 0.0, *, anew: bool = False) -> Iterator[Writer]:
        """The one writer of the store, for a `with` block; what is queued is in the graph when it ends.

        Args:
            wait_s: seconds to wait for another writer to end.
            anew: start with an empty graph, for `Writer.rebuild`, whatever the version of the one that is there.

        Raises:
            StoreBusy: another process writes; the message names it.
        """
        writer = None
        try:
            with deferred(), self._lock:
                self.close()
                if self._writer is not None:
                    raise StoreError("this store has a writer already; use that one")
                writer = self._writer = Writer(self, wait_s, anew=anew)
            yield writer
            writer.close()
        except BaseException:
            if writer is not None:
                with suppress(StoreError):  # what could not be projected is filled in by the next writer
                    writer.close(wait_s=0.0)
            raise
        finally:
            if writer is not None:
                self._writer = None
