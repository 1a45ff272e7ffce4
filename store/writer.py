"""The one writer of a store: archive first, catalog next, graph last, in groups.

At every instant the archive holds what the catalog lists, and the catalog lists what the graph shows.
A graph that cannot be reached holds nobody up: the writer goes on without it, and when it is there again, at
the end of the work at the latest, fills in what the catalog lists and the graph lacks.
A killed writer leaves at most a file that the catalog does not list yet, circuits that the graph lacks,
and temporary things without meaning; the next one sweeps, takes up and fills in at its start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection

from ..circuits import CircuitRecord, Discovery, Extraction, WorkItem, circuit_id
from ..errors import InputError, StoreBusy, StoreDamaged, StoreError, StoreUnreachable
from ..results import Table
from . import encoding, ledger, upkeep
from .archive import Kind
from .catalog import Catalog
from .graph import open_graph, recreate_graph
from .keeper import Keeper, LeaseLost, patiently
from .lease import now_ms
from .tables import circuits, discoveries

if TYPE_CHECKING:
    from .graph.contract import GraphBackend
    from .store import Store

V = TypeVar("V", Discovery, CircuitRecord)
log = logging.getLogger("circuitstore")

GROUP = 50
"""Circuits projected at once while indexing."""

GROUP_S = 5.0
"""Seconds that a circuit waits for others at most."""

TICK_S = 0.5
"""Seconds between looks at the queue."""

GRAPH_WAIT_S = 120.0
"""Seconds for which a graph that cannot be reached is waited for when there is nothing else to do."""

AGAIN_S = 2.0
"""Seconds between looks whether it can be reached again."""

PARENTS: list[object] = []
"""What a parent process had open: of no use after a fork, but letting go of it would hang."""


class Writer:
    """Made by `Store.writer`. Methods may be called from several threads, not across a fork.

    Every method raises `StoreBusy` when the lease was lost (the process was stopped for more than a
    minute, and another took over), and `StoreError` when the disk or a database refuses; what was
    stored before stays, and the same command goes on from there.

    Attributes:
        store: the store, for reading.
        catalog: its SQL database, to write.
        graph: its graph database, to write.
    """

    def __init__(self, store: Store, wait_s: float = 0.0, *, anew: bool = False) -> None:
        self.store, self.archive = store, store.archive
        self.catalog = Catalog(store.location.catalog, read_only=False)
        self._pid = os.getpid()
        self._notices: list[str] = []
        self._queue: dict[str, tuple[CircuitRecord, int]] = {}
        self._queued_at = 0.0
        self._lock = threading.RLock()
        self._opened: GraphBackend | None = None
        self._away: StoreUnreachable | None = None  # why the graph is done without for now
        self._again_at = 0.0
        with contextlib.ExitStack() as held:
            held.callback(self.catalog.close)
            held.callback(self._close_graph)
            self._keeper = Keeper(self.catalog, wait_s)
            held.callback(self._keeper.release)
            self._open_graph(recreate_graph if anew else open_graph, wait_s)
            self._tidy()
            if not anew:
                self.project_pending()
            self._keeper.repeat(self._project_due, TICK_S)
            self._held = held.pop_all()

    # --- opening and closing -----------------------------------------------------------------------

    def _open_graph(self, how: Callable[..., GraphBackend], wait_s: float) -> None:
        graph = self._opened = patiently(lambda: self._graph_by(how), wait_s)
        for notice in graph.notices:
            self.say(notice)
        self._keeper.hold(graph, wait_s)

    def _graph_by(self, how: Callable[..., GraphBackend]) -> GraphBackend:
        place = self.store.location
        return how(place.graph, store_id=self.store.id, account=place.account)

    def _tidy(self) -> None:
        """Sweep what a killed writer left, finish what it removed, free its items."""
        swept = self.archive.sweep()
        if swept:
            self.say(f"{swept} unfinished files of an interrupted run were removed from the archive")
        upkeep.finish_removal(self)
        self.graph.sweep()
        with self.writing() as connection:
            ledger.free_leased(connection)

    def _close_graph(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def close(self, wait_s: float | None = None) -> None:
        """`flush`, and give the lease back; calling again does nothing."""
        if self._pid != os.getpid():
            PARENTS.append(self)
            return
        with self._held:
            if not self._keeper.released:
                self.flush(wait_s)

    # --- what every method needs -------------------------------------------------------------------

    @property
    def graph(self) -> GraphBackend:
        self._check()
        assert self._opened is not None
        return self._opened

    @property
    def notices(self) -> tuple[str, ...]:
        """What was mended, taken over, or put aside, in words for the user."""
        return tuple(self._notices)

    def say(self, notice: str) -> None:
        """A notice, for the log and for `notices`."""
        self._notices.append(notice)
        log.warning("%s", notice)

    @property
    def owner(self) -> str:
        """How the leases name this writer."""
        return self._keeper.owner

    def _check(self) -> None:
        if self._pid != os.getpid():
            raise StoreError(
                f"this writer belongs to process {self._pid}; a forked process ({os.getpid()}) cannot use it: "
                "let the first process write, and give it results instead"
            )
        self._keeper.check()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the catalog in which the lease is known to be ours."""
        self._check()
        with self._keeper.writing() as connection:
            yield connection

    # --- runs and items ----------------------------------------------------------------------------

    def start_run(
        self,
        name: str,
        spec: str,
        items: Sequence[WorkItem],
        circuits: Sequence[tuple[str, Extraction]] = (),
    ) -> None:
        """Enter a run: what it asks. Again with another spec: what is new is added.

        What the archive holds of it already, from a killed run or a lost catalog, is taken up.

        Args:
            name: of the run.
            spec: its TOML text.
            circuits: wanted circuits: item id and extraction.
        """
        with self._lock:
            with self.writing() as connection:
                ledger.enter_run(connection, name, spec, items, circuits)
                answers = [w.id for w in ledger.pending(connection, name) if self.archive.has("discovery", w.id)]
                absent = [id for id in answers if ledger.checksum(connection, discoveries, id) is None]
                wanted = [circuit_id(item, how) for item, how in ledger.missing_circuits(connection, name)]
                listed = ledger.stored_of(connection, name)
            self._set_lost_aside(*listed)
            taken = [self.take_up("discovery", id, name) for id in absent]
            taken += [self.take_up("circuit", id, name) for id in wanted if self.archive.has("circuit", id)]
            if sum(taken):
                self.say(f"{sum(taken)} results of an earlier run were found in the archive and taken up")

    def take_up(self, kind: Kind, id: str, run: str) -> bool:
        """Enter what the archive holds and the catalog does not; a damaged file is set aside instead."""
        try:
            if kind == "discovery":
                discovery, created = self.archive.discovery(id)
                with self.writing() as connection:
                    ledger.enter_discovery(connection, discovery, created, run)
            else:
                record, created = self.archive.circuit(id)
                with self.writing() as connection:
                    ledger.enter_circuit(connection, record, created, run)
                self._enqueue(record, created)
        except StoreDamaged as error:
            self.set_aside(kind, id, error)
            return False
        return True

    def _set_lost_aside(self, discoveries: Sequence[str], circuits: Sequence[str]) -> None:
        """Have what the catalog lists, and the archive lost or has but the beginning of, computed anew."""
        for id in discoveries:
            if not self.archive.looks_whole("discovery", id):
                self.sound_discovery(id)
        self.sound_circuits([id for id in circuits if not self.archive.looks_whole("circuit", id)])

    def sound_discovery(self, id: str) -> Discovery | None:
        """A discovery of the archive; a damaged or lost one is set aside."""
        try:
            return self.archive.discovery(id)[0]
        except StoreDamaged as error:
            self.set_aside("discovery", id, error)
            return None

    def set_aside(self, kind: Kind, id: str, error: StoreDamaged) -> None:
        """Put a damaged file away, and strike it out of graph and catalog so that it is computed anew."""
        if kind == "circuit":
            self._queue.pop(id, None)
            self._take_from_graph(id)
        path = self.archive.set_aside(kind, id)
        with self.writing() as connection:
            ledger.forget(connection, discoveries if kind == "discovery" else circuits, [id])
        where = f"; it was set aside as {path}" if path else ""
        self.say(f"{error}{where}; its item is asked again by the next index run")

    def pending(self, run: str) -> list[WorkItem]:
        """Items of a run that have not failed and lack their discovery or a wanted circuit, in its order."""
        with self.catalog.reading() as connection:
            return ledger.pending(connection, run)

    def failures(self, run: str) -> dict[str, str]:
        """Error of each failed item of a run, by item id."""
        with self.catalog.reading() as connection:
            return ledger.failures(connection, run)

    def lease_item(self, id: str) -> None:
        """An item is being worked at: state `leased`, one attempt more."""
        self._set_state(id, "leased", attempt=True)

    def fail(self, id: str, error: str) -> None:
        """An item failed; it is not asked again until `retry_failed`."""
        self._set_state(id, "failed", error=error)

    def _set_state(self, id: str, state: str, *, error: str | None = None, attempt: bool = False) -> None:
        with self.writing() as connection:
            if not ledger.set_state(connection, id, state, error=error, attempt=attempt):
                raise InputError(f"the catalog has no item {id}; enter it with start_run first")

    def retry_failed(self, run: str) -> int:
        """Failed items of a run are asked again; returns how many."""
        with self.writing() as connection:
            return ledger.retry_failed(connection, run)

    # --- discoveries and circuits ------------------------------------------------------------------

    def has_discovery(self, id: str) -> bool:
        with self.catalog.reading() as connection:
            return ledger.checksum(connection, discoveries, id) is not None

    def has_circuit(self, id: str) -> bool:
        with self.catalog.reading() as connection:
            return ledger.checksum(connection, circuits, id) is not None

    def put_discovery(self, discovery: Discovery, run: str) -> None:
        """Store the answer to an item; the item is done. Scores are kept as `encoding.rounded`.

        An answer that is there already stays: the first wins, another one is dropped with a notice.
        """
        discovery = encoding.rounded(discovery)
        with self._lock:
            self._check()
            stored, created = self._first("discovery", discovery, self.archive.discovery)
            with self.writing() as connection:
                ledger.enter_discovery(connection, stored, created, run)

    def put_circuit(self, record: CircuitRecord, run: str) -> None:
        """Store a circuit; it appears in the graph with its group, at the latest after some seconds.

        A circuit that is there already stays: the first wins, another one is dropped with a notice.

        Raises:
            InputError: an edge of it is on no path from input to logits.
        """
        with self._lock:
            self._check()
            stored, created = self._first("circuit", record, self.archive.circuit)
            known = self.has_circuit(record.id)
            with self.writing() as connection:
                ledger.enter_circuit(connection, stored, created, run)
            if not known:
                self._enqueue(stored, created)

    def _first(self, kind: Kind, value: V, read: Callable[[str], tuple[V, int]]) -> tuple[V, int]:
        """What the archive holds under the value's id, after the value was written if there was nothing sound."""
        if self.archive.has(kind, value.id):
            try:
                there, created = read(value.id)
            except StoreDamaged as error:
                self.set_aside(kind, value.id, error)
            else:
                if there.sha256 != value.sha256:
                    self.say(
                        f"{kind} {value.id} is stored already, from other arithmetic (another device or library "
                        "version): the first result was kept, this one dropped"
                    )
                return there, created
        created = now_ms()
        self.archive.write(value, created)
        return value, created

    # --- the graph ---------------------------------------------------------------------------------

    def _enqueue(self, record: CircuitRecord, created_ms: int) -> None:
        if self._away is not None:
            return  # the catalog lists it: it is filled in when the graph is there again
        if not self._queue:
            self._queued_at = time.monotonic()
        self._queue[record.id] = record, created_ms
        edges = sum(r.circuit.n_edges for r, _ in self._queue.values())
        if len(self._queue) >= GROUP or edges >= upkeep.EDGES:
            self._project_queue()

    def _project_due(self) -> None:
        if self._away is not None and time.monotonic() >= self._again_at:
            self._rejoin_aside()
        elif self._queue and time.monotonic() - self._queued_at >= GROUP_S and self._lock.acquire(blocking=False):
            try:
                self._project_queue()
            finally:
                self._lock.release()

    def _project_queue(self) -> None:
        """Bring the queued circuits into the graph, or do without it if it cannot be reached."""
        if self._queue:
            try:
                self._put(list(self._queue.values()))
            except StoreUnreachable as error:
                self._do_without(error)
            self._queue = {}

    def flush(self, wait_s: float | None = None) -> None:
        """Bring into the graph what it lacks of what was put.

        Args:
            wait_s: seconds to wait for a graph that cannot be reached; by default `GRAPH_WAIT_S`.

        Raises:
            StoreUnreachable: it still could not be; the next writer fills it in.
        """
        deadline = time.monotonic() + (GRAPH_WAIT_S if wait_s is None else wait_s)
        with self._lock:
            self._project_queue()
            while self._away is not None:
                try:
                    self._rejoin(self._graph_by(open_graph))
                except LeaseLost:
                    raise
                except (StoreUnreachable, StoreBusy) as error:
                    if time.monotonic() >= deadline:
                        raise StoreUnreachable(
                            f"{error}; nothing is lost: what the graph lacks is in the archive, and the same command "
                            "run again fills it in"
                        ) from error
                    time.sleep(min(AGAIN_S, max(0.0, deadline - time.monotonic())))

    def _do_without(self, error: StoreUnreachable) -> None:
        if self._away is None:
            self.say(
                f"{error}; the work goes on without it: what is found is kept in the archive, and brought into the "
                "graph when that can be reached again"
            )
        self._away, self._queue = error, {}
        self._again_at = time.monotonic() + AGAIN_S
        self._keeper.let_go()

    def _rejoin_aside(self) -> None:
        """Look, in the writer's thread, whether the graph can be reached again; nobody is held up by the looking."""
        self._again_at = time.monotonic() + AGAIN_S
        graph = self._graph_by(open_graph)
        if self._lock.acquire(timeout=AGAIN_S):
            try:
                if self._away is not None and not self._keeper.released:
                    self._rejoin(graph)
                    return
            finally:
                self._lock.release()
        graph.close()

    def _rejoin(self, graph: GraphBackend) -> None:
        """Go on with a graph that was opened anew: it may have lost much, or be another."""
        try:
            self._check()
            self._keeper.hold(graph)
        except BaseException:
            graph.close()
            raise
        lost, self._opened, self._away = self._opened, graph, None  # a reader of `graph` never gets a closed one
        if lost is not None:
            lost.close()
        try:
            self.project_pending()
        except StoreUnreachable as error:
            self._do_without(error)
            raise

    def _take_from_graph(self, id: str) -> None:
        if self._away is None:
            try:
                self.graph.remove([id])
            except StoreUnreachable as error:
                self._do_without(error)

    def _put(self, group: Sequence[tuple[CircuitRecord, int]]) -> None:
        self.graph.put([record for record, _ in group], {record.id: created for record, created in group})

    def project_pending(self) -> int:
        """Bring into the graph what the catalog lists and the graph lacks, or has otherwise; returns how many.

        That is: after a kill, a few; after the graph was lost, emptied or put back to an older copy, many.
        """
        with self._lock:
            self.flush()
            with self.catalog.reading() as connection:
                listed, sizes = ledger.stored(connection, circuits), ledger.circuit_sizes(connection)
            present = self.graph.present()
            other = [id for id, sha in present.items() if listed.get(id, sha) != sha]
            self.graph.remove(other)
            filled = self._project({id: sizes[id] for id, sha in listed.items() if present.get(id) != sha})
            if filled:
                self.say(f"the graph lacked {filled} of {len(listed)} circuits; they were filled in from the archive")
            return filled

    def _project(self, sizes: Mapping[str, int]) -> int:
        """Circuits of the archive, by id with their edges, into the graph in groups; returns how many were sound."""
        done = 0
        for ids in upkeep.groups(sizes):
            group = self.sound_circuits(ids)
            self._put(group)
            done += len(group)
        return done

    def sound_circuits(self, ids: Sequence[str]) -> list[tuple[CircuitRecord, int]]:
        """Circuits of the archive with their `created_ms`; damaged and lost ones are set aside and left out."""
        sound = []
        for id in ids:
            try:
                sound.append(self.archive.circuit(id))
            except StoreDamaged as error:
                self.set_aside("circuit", id, error)
        return sound

    # --- upkeep ------------------------------------------------------------------------------------

    def delete_run(self, name: str) -> None:
        """Remove a run and its references; what no other run refers to is collected by `gc`.

        Raises:
            InputError: no such run.
        """
        with self.writing() as connection:
            ledger.known_run(connection, name)
            ledger.delete_run(connection, name)

    def gc(self) -> Table:
        """Remove what no run refers to, from graph, catalog and archive; columns `what, count`.

        Files that the catalog has never listed are kept, with a notice; `rebuild` takes them up.

        To be run when nobody reads: a reader may hold ids of what goes.
        """
        with self._lock:
            self.flush()
            return upkeep.collect(self)

    def rebuild(self) -> Table:
        """Make the graph anew from the archive, and the catalog's rows that are missing; columns `what, count`.

        Files that the catalog does not list are taken up, in the run `recovered`; damaged files are set
        aside and their items asked again.
        """
        with self._lock:
            self.flush()
            return upkeep.rebuild(self)
