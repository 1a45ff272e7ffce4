"""The one writer of a store: archive first, catalog next, graph last, in groups.

At every instant the archive holds what the catalog lists, and the catalog lists what the graph shows.
A graph that cannot be reached holds nobody up (`projection`).
A killed writer leaves at most a file that the catalog does not list yet, circuits that the graph lacks,
and temporary things without meaning; the next one sweeps, takes up and fills in at its start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection

from ..circuits import CircuitRecord, Discovery, Extraction, WorkItem, circuit_id
from ..errors import InputError, StoreDamaged, StoreError
from ..results import Table
from . import encoding, ledger, upkeep
from .archive import Archive, Kind
from .catalog import Catalog
from .graph import open_graph, recreate_graph
from .interrupts import deferred
from .keeper import Keeper
from .lease import now_ms
from .projection import Projection
from .rebuilding import rebuild
from .runs import KEY, Asked, run_key
from .salvage import Listed
from .tables import circuits, discoveries

if TYPE_CHECKING:
    from .graph.contract import GraphBackend
    from .store import Store

V = TypeVar("V", Discovery, CircuitRecord)
log = logging.getLogger("circuitstore")

PARENTS: list[object] = []
"""What a parent process had open: of no use after a fork, but letting go of it would hang."""


class Writer:
    """Made by `Store.writer`. Methods may be called from several threads, not across a fork.

    Every method raises `StoreBusy` when the lease was lost (the process was stopped for more than a
    minute, and another took over), and `StoreError` when the disk or a database refuses; what was
    stored before stays, and the same command goes on from there. After the lease was lost nothing
    changes in archive, catalog or graph, wherever the process was stopped.

    Attributes:
        store: the store, for reading.
        archive: its files, to write.
        catalog: its SQL database, to write.
        graph: its graph database, to write.
    """

    def __init__(self, store: Store, wait_s: float = 0.0, *, anew: bool = False) -> None:
        self.store = store
        self.catalog = Catalog(store.location.catalog, read_only=False)
        self._pid = os.getpid()
        self._notices: list[str] = []
        self._asked: dict[str, set[str]] = {}  # items and circuits that each run is known to refer to
        self._lock = threading.RLock()
        self._projection = Projection(self, self._lock)
        with contextlib.ExitStack() as held:
            held.callback(self.catalog.close)
            held.callback(self._projection.close)
            self.catalog.check()
            self._keeper = Keeper(self.catalog, store.location.folder, wait_s)
            held.callback(self._keeper.release)
            self.archive = Archive(store.location.archive, self._keeper.permit)
            self._projection.open(recreate_graph if anew else open_graph, self._keeper, wait_s)
            self._tidy()
            if not anew:  # for a rebuild, which does both itself
                self._keep_runs()
                self.project_pending()
            self._projection.start()
            self._held = held.pop_all()

    # --- opening and closing -----------------------------------------------------------------------

    def _tidy(self) -> None:
        """Sweep what a killed writer left, finish what it removed, free its items."""
        swept = self.archive.sweep()
        if swept:
            self.say(f"{swept} unfinished files of an interrupted run were removed from the archive")
        upkeep.finish_removal(self)
        self.archive.seal(self.store.id)
        self.graph.sweep()
        with self.writing() as connection:
            ledger.free_leased(connection)

    def close(self, wait_s: float | None = None) -> None:
        """`flush`, and give the lease back; calling again does nothing."""
        if self._pid != os.getpid():
            PARENTS.append(self)
            return
        with deferred(), self._held:
            if not self._keeper.released:
                self.flush(wait_s)

    # --- what every method needs -------------------------------------------------------------------

    @property
    def graph(self) -> GraphBackend:
        self._check()
        return self._projection.graph

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
            asked = self._keep(Asked(name, spec, tuple(items), tuple(circuits), now_ms()))
            with self.writing() as connection:
                ledger.enter_run(connection, asked)
                answers = [w.id for w in ledger.pending(connection, name) if self.archive.has("discovery", w.id)]
                absent = [id for id in answers if ledger.checksum(connection, discoveries, id) is None]
                wanted = [circuit_id(item, how) for item, how in ledger.missing_circuits(connection, name)]
                listed = ledger.stored_of(connection, name)
            self._set_lost_aside(*listed)
            taken = [self.take_up("discovery", id) for id in absent]
            taken += [self.take_up("circuit", id) for id in wanted if self.archive.has("circuit", id)]
            if sum(taken):
                self.say(f"{sum(taken)} results of an earlier run were found in the archive and taken up")

    def _keep(self, asked: Asked) -> Asked:
        """Keep in the archive what a run is asked for, unless that is what it was asked for last."""
        earlier = [one for id in self._kept_of(asked.run) if (one := self.sound_asked(id))]
        last = max(earlier, key=lambda one: one.created_ms, default=None)
        if last and last.is_as(asked):
            return last
        if last and asked.created_ms <= last.created_ms:
            asked = replace(asked, created_ms=last.created_ms + 1)
        self.archive.write_asked(asked, self.store.id)
        return asked

    def _kept_of(self, run: str) -> list[str]:
        """Ids of what the archive keeps of a run."""
        return [id for id in self.archive.ids("run") if id.startswith(run_key(run))]

    def sound_asked(self, id: str) -> Asked | None:
        """What a run was asked for; a damaged file is set aside, as `rebuild` or the run itself writes it again."""
        try:
            return self.archive.asked(id)
        except StoreDamaged as error:
            path = self.archive.set_aside("run", id)
            self.say(f"{error}; it was set aside as {path}")
            return None

    def _keep_runs(self) -> None:
        """Keep in the archive what it lacks of a run that the catalog lists: of a lost file, or an older store."""
        kept = {id[:KEY] for id in self.archive.ids("run")}
        with self.catalog.reading() as connection:
            lost = [name for name in ledger.run_names(connection) if run_key(name) not in kept]
            asked = [one for name in lost for one in ledger.all_asked(connection, name)]
        for one in asked:
            self.archive.write_asked(one, self.store.id)

    def _ask_for(self, run: str, item: WorkItem, extraction: Extraction | None = None) -> None:
        """Have a run refer to an item, and a circuit of it, that it was not asked for."""
        wanted = {item.id, circuit_id(item.id, extraction)} if extraction else {item.id}
        if wanted <= self._asked.get(run, set()):
            return
        with self.catalog.reading() as connection:
            self._asked[run], spec = ledger.asked_of(connection, run), ledger.spec_of(connection, run)
        if wanted <= self._asked[run]:
            return
        circuits = ((item.id, extraction),) if extraction else ()
        asked = self._keep(Asked(run, spec, (item,), circuits, now_ms()))
        with self.writing() as connection:
            ledger.enter_run(connection, asked)
        self._asked[run] |= wanted

    def take_up(self, kind: Kind, id: str) -> bool:
        """Enter what the archive holds and the catalog does not; a damaged file is set aside instead."""
        try:
            if kind == "discovery":
                discovery, created = self.archive.discovery(id)
                with self.writing() as connection:
                    ledger.enter_discovery(connection, discovery, created)
            else:
                record, created = self.archive.circuit(id)
                with self.writing() as connection:
                    ledger.enter_circuit(connection, record, created)
                self._projection.add(record, created)
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
            self._projection.drop(id)
        path = self.archive.set_aside(kind, id)
        with self.writing() as connection:
            ledger.forget(connection, discoveries if kind == "discovery" else circuits, [id])
        where = f"; it was set aside as {path}" if path else ""
        self.say(f"{error}{where}; the next index run asks its item again; a result of your own has to be stored again")

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

    def stored(self, run: str) -> tuple[set[str], set[str]]:
        """Ids of the discoveries, and of the circuits, of a run that are stored."""
        with self.catalog.reading() as connection:
            answers, found = ledger.stored_of(connection, run)
        return set(answers), set(found)

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
            self._ask_for(run, discovery.item)
            stored, created = self._first("discovery", discovery, self.archive.discovery)
            with self.writing() as connection:
                ledger.enter_discovery(connection, stored, created)

    def put_circuit(self, record: CircuitRecord, run: str) -> None:
        """Store a circuit; it appears in the graph with its group.

        That is at the latest after half a minute, beside the time that a group takes.

        A circuit that is there already stays: the first wins, another one is dropped with a notice.

        Raises:
            InputError: an edge of it is on no path from input to logits.
        """
        with self._lock:
            self._check()
            self._ask_for(run, record.item, record.extraction)
            stored, created = self._first("circuit", record, self.archive.circuit)
            with self.writing() as connection:
                new = ledger.enter_circuit(connection, stored, created)
            if new:
                self._projection.add(stored, created)

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

    def flush(self, wait_s: float | None = None) -> None:
        """Bring into the graph what it lacks of what was put.

        Args:
            wait_s: seconds to wait for a graph that cannot be reached; by default `projection.GRAPH_WAIT_S`.

        Raises:
            StoreUnreachable: it still could not be; the next writer fills it in.
        """
        self._projection.flush(wait_s)

    def project_pending(self) -> int:
        """Bring into the graph what the catalog lists and the graph lacks, or has otherwise; returns how many.

        That is: after a kill, a few; after the graph was lost, emptied or put back to an older copy, many.
        """
        return self._projection.fill()

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
        with self._lock:
            with self.catalog.reading() as connection:
                ledger.known_run(connection, name)
            self.archive.announce_removal({"run": self._kept_of(name)})
            with self.writing() as connection:
                ledger.delete_run(connection, name)
            self._asked.pop(name, None)
            upkeep.finish_removal(self)

    def gc(self) -> Table:
        """Remove what no run refers to, from graph, catalog and archive; columns `what, count`.

        Files that the catalog has never listed are kept, with a notice; `rebuild` takes them up.

        To be run when nobody reads: a reader may hold ids of what goes.
        """
        with self._lock:
            self.flush()
            return upkeep.collect(self)

    def rebuild(self, old: Listed | None = None) -> Table:
        """Make all that the catalog lists, and the graph, again from the archive; columns `what, count`.

        What is in the catalog only, such as failures and times of items, is kept. Files that neither the catalog
        lists nor a run refers to are given to the run `recovered`; damaged files are set aside and their items asked
        again.

        Args:
            old: what could be read of a catalog that was lost meanwhile; by default the one that is there.
        """
        with self._lock:
            self.flush()
            self._asked.clear()
            return rebuild(self, old)
