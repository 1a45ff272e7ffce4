"""The one writer of a store: archive first, catalog next, graph last, in groups.

At every instant the archive holds what the catalog lists, and the catalog lists what the graph shows.
A graph that cannot be reached holds nobody up (`projection`).
A killed writer leaves at most a file that the catalog does not list yet, circuits that the graph lacks,
and temporary things without meaning; the next one sweeps, takes up and fills in at its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from ..circuits import CircuitRecord, Extraction, WorkItem, circuit_id
from ..errors import InputError, StoreDamaged
from ..results import Table
from . import answers, ledger, upkeep
from .archive import Archive
from .catalog import Catalog
from .graph import open_graph, recreate_graph
from .graph.contract import GraphBackend
from .interrupts import deferred
from .kinds import CIRCUIT, DISCOVERY, RESPONSE, Stored, StoredKind, kind_of
from .lease import now_ms
from .lease_holder import LeaseHolder
from .location import Location
from .parts import Parts
from .projection import Projection
from .rebuilding import rebuild
from .requests import Requests
from .runs import Asked
from .salvage import Listed

V = TypeVar("V", bound=Stored)

PARENTS: list[object] = []
"""What a parent process had open: of no use after a fork, but letting go of it would hang."""


class Writer:
    """Made by `Store.writer`. Methods may be called from several threads, not across a fork.

    Every method raises `StoreBusy` when the lease was lost (the process was stopped for more than a
    minute, and another took over), and `StoreError` when the disk or a database refuses; what was
    stored before stays, and the same command goes on from there. After the lease was lost nothing
    changes in archive, catalog or graph, wherever the process was stopped.

    Attributes:
        archive: its files, to write.
        catalog: its SQL database, to write.
        graph: its graph database, to write.
    """

    def __init__(self, location: Location, store_id: str, wait_s: float = 0.0, *, anew: bool = False) -> None:
        self.catalog = Catalog(location.catalog, read_only=False)
        with ExitStack() as held:
            held.callback(self.catalog.close)
            self.catalog.check()
            lease_holder = LeaseHolder(self.catalog, location.folder, wait_s)
            self.archive = Archive(location.archive, lease_holder.permit)
            self._parts = Parts(store_id, self.archive, self.catalog, lease_holder)
            self._requests = Requests(self._parts)
            self._projection = Projection(self._parts, location)
            held.callback(self._projection.close)
            held.callback(lease_holder.release)
            self._projection.open(recreate_graph if anew else open_graph, wait_s)
            self._tidy()
            if not anew:  # for a rebuild, which does both itself
                self._requests.keep_lost()
                self.project_pending()
            self._projection.start()
            self._held = held.pop_all()

    # --- opening and closing -----------------------------------------------------------------------

    def _tidy(self) -> None:
        """Sweep what a killed writer left, finish what it removed, free its items."""
        swept = self.archive.sweep()
        if swept:
            self._parts.say(f"{swept} unfinished files of an interrupted run were removed from the archive")
        upkeep.finish_removal(self._parts)
        self.archive.seal(self._parts.store_id)
        self.graph.sweep()
        with self._parts.writing() as connection:
            ledger.free_leased(connection)

    def close(self, wait_s: float | None = None) -> None:
        """`flush`, and give the lease back; calling again does nothing."""
        if not self._parts.are_ours:
            PARENTS.append(self)
            return
        with deferred(), self._held:
            if not self._parts.lease_holder.released:
                self.flush(wait_s)

    # --- what every method needs -------------------------------------------------------------------

    @property
    def graph(self) -> GraphBackend:
        return self._projection.graph

    @property
    def notices(self) -> tuple[str, ...]:
        """What was mended, taken over, or put aside, in words for the user."""
        return self._parts.notices

    @property
    def owner(self) -> str:
        """How the leases name this writer."""
        return self._parts.lease_holder.owner

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
        with self._parts.lock:
            self._requests.enter(Asked(name, spec, tuple(items), tuple(circuits), now_ms()))
            with self.catalog.reading() as connection:
                there = [w.id for w in ledger.pending(connection, name) if self.archive.has(DISCOVERY.name, w.id)]
                absent = [id for id in there if answers.checksum(connection, DISCOVERY, id) is None]
                wanted = [circuit_id(item, how) for item, how in ledger.missing_circuits(connection, name)]
                answered, found = ledger.stored_of(connection, name)
                responses = ledger.responses_of(connection, name)
            self._set_lost_aside({DISCOVERY: answered, RESPONSE: responses, CIRCUIT: found})
            taken = [self.take_up(DISCOVERY, id) for id in absent]
            taken += [self.take_up(CIRCUIT, id) for id in wanted if self.archive.has(CIRCUIT.name, id)]
            if sum(taken):
                self._parts.say(f"{sum(taken)} results of an earlier run were found in the archive and taken up")

    def take_up(self, kind: StoredKind[Any], id: str) -> bool:
        """Enter what the archive holds and the catalog does not; a damaged file is set aside instead.

        The responses that a circuit refers to are entered before it, as far as the archive holds them.
        """
        try:
            value, created = self.archive.read(kind, id)
        except StoreDamaged as error:
            self.set_aside(kind, id, error)
            return False
        if isinstance(value, CircuitRecord):
            for response in value.responses.values():
                if self.archive.has(RESPONSE.name, response):
                    self.take_up(RESPONSE, response)
        self._enter([(value, created)])
        return True

    def _enter(self, values: Sequence[tuple[Stored, int]]) -> None:
        """List values of the archive, in one transaction; the graph gets those that it shows with their group."""
        with self._parts.writing() as connection:
            new = [(v, created) for v, created in values if answers.enter_value(connection, v, created)]
        for value, created in new:
            if isinstance(value, CircuitRecord):
                self._projection.add(value, created)

    def _set_lost_aside(self, ids: Mapping[StoredKind[Any], Sequence[str]]) -> None:
        """Have what the catalog lists, and the archive lost or has but the beginning of, computed again."""
        for kind, listed in ids.items():
            for id in listed:
                if not self.archive.looks_whole(kind.name, id):
                    self.sound(kind, id)

    def sound(self, kind: StoredKind[V], id: str) -> V | None:
        """A value of the archive; a damaged or lost one is set aside, so that it is computed again."""
        try:
            return self.archive.read(kind, id)[0]
        except StoreDamaged as error:
            self.set_aside(kind, id, error)
            return None

    def set_aside(self, kind: StoredKind[Any], id: str, error: StoreDamaged) -> None:
        """Put a damaged file away, and delete it from graph and catalog, so that it is computed again."""
        if kind.projected:
            self._projection.set_aside(id, error)
        else:
            self._parts.set_aside(kind.name, id, error)

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
        with self._parts.writing() as connection:
            if not ledger.set_state(connection, id, state, error=error, attempt=attempt):
                raise InputError(f"the catalog has no item {id}; enter it with start_run first")

    def retry_failed(self, run: str) -> int:
        """Failed items of a run are asked again; returns how many."""
        with self._parts.writing() as connection:
            return ledger.retry_failed(connection, run)

    # --- values ------------------------------------------------------------------------------------

    def stored(self, run: str) -> tuple[set[str], set[str]]:
        """Ids of the discoveries, and of the circuits, of a run that are stored."""
        with self.catalog.reading() as connection:
            answered, found = ledger.stored_of(connection, run)
        return set(answered), set(found)

    def has(self, kind: StoredKind[Any], id: str) -> bool:
        """Whether a value is stored."""
        with self.catalog.reading() as connection:
            return answers.checksum(connection, kind, id) is not None

    def put(self, *values: Stored, run: str) -> None:
        """Store values and have a run refer to them; those that others refer to come first.

        With a discovery its item is done; its scores are kept as `encoding.rounded`. A circuit appears in the graph
        with its group: after half a minute at the latest, plus the time that a group takes. A response belongs to a run
        through the circuits that refer to it.

        A value that is there already stays: the first wins, another one is dropped with a notice.

        Raises:
            InputError: an edge of a circuit is on no path from input to logits.
        """
        with self._parts.lock:
            self._parts.check()
            for value in values:
                if (asked := kind_of(value).asked(value)) is not None:
                    self._requests.add(run, *asked)
            self._enter([self._first(value) for value in values])

    def _first(self, value: Stored) -> tuple[Stored, int]:
        """What the archive holds under the value's id, after the value was written if there was nothing sound."""
        kind = kind_of(value)
        value = kind.canonical(value)
        if self.archive.has(kind.name, value.id):
            try:
                there, created = self.archive.read(kind, value.id)
            except StoreDamaged as error:
                self.set_aside(kind, value.id, error)
            else:
                if there.sha256 != value.sha256:
                    self._parts.say(
                        f"{kind.name} {value.id} is stored already, from other arithmetic (another device or library "
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

    # --- upkeep ------------------------------------------------------------------------------------

    def delete_run(self, name: str) -> None:
        """Remove a run and its references; what no other run refers to is collected by `gc`.

        Raises:
            InputError: no such run.
        """
        with self._parts.lock:
            self._requests.delete(name)

    def gc(self) -> Table:
        """Remove what no run refers to, from graph, catalog and archive; columns `what, count`.

        Files that the catalog has never listed are kept, with a notice; `rebuild` takes them up.

        To be run when nobody reads: a reader may hold ids of what goes.
        """
        with self._parts.lock:
            self.flush()
            return upkeep.collect(self._parts, self.graph)

    def rebuild(self, old: Listed | None = None) -> Table:
        """Make all that the catalog lists, and the graph, again from the archive; columns `what, count`.

        What is in the catalog only, such as failures and times of items, is kept. Files that neither the catalog
        lists nor a run refers to are given to the run `recovered`; damaged files are set aside and their items asked
        again.

        Args:
            old: what could be read of a catalog that was lost meanwhile; by default the one that is there.
        """
        with self._parts.lock:
            self.flush()
            self._requests.forget()
            return rebuild(self._parts, self._projection, old)
