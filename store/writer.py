"""The single writer of a store. It writes to the archive, then to the catalog, then in groups to the graph.

At any time the archive contains all that the catalog lists, and the catalog lists all that the graph contains. The
writer does not wait for a graph that cannot be reached (`projection`). A killed writer leaves at most files that the
catalog does not list yet, circuits that the graph lacks, and temporary files. The next writer starts by removing the
temporary files and adding the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import pyarrow as pa

from ..circuits import CircuitRecord, Extraction, Fit, Note, WorkItem, circuit_id
from ..errors import InputError, StoreDamaged
from ..results import Table
from . import answers, ledger, upkeep
from .archive import Archive
from .catalog import Catalog
from .graph import open_graph, recreate_graph
from .graph.contract import GraphBackend
from .interrupts import deferred
from .kinds import CIRCUIT, EXAMPLES, FITS, KINDS, NOTES, RESPONSE, Stored, StoredKind, answering_kinds, kind_of
from .lease import now_ms
from .lease_holder import LeaseHolder
from .location import Location
from .parts import Parts
from .projection import Projection
from .rebuilding import rebuild
from .requests import Requests
from .runs import RunRequest
from .salvage import CatalogRows

V = TypeVar("V", bound=Stored)

PARENTS: list[object] = []
"""Objects that a parent process had open: useless after a fork, but their finalizers would hang."""


class Writer:
    """The writer of a store, created by `Store.writer`. Several threads may use it, but not a forked process.

    Every method raises `StoreBusy` if the lease was lost (the process was suspended for more than a minute and another
    writer took over), and `StoreError` if the disk or a database fails. Values stored before are kept, and the same
    command resumes from there. After the loss of the lease the writer changes neither archive nor catalog nor graph,
    wherever the process was suspended.

    Attributes:
        archive: the store's files, writable.
        catalog: its SQL database, writable.
        graph: its graph database, writable.
    """

    def __init__(self, location: Location, store_id: str, wait_s: float = 0.0, *, empty_graph: bool = False) -> None:
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
            self._projection.open(recreate_graph if empty_graph else open_graph, wait_s)
            self._tidy()
            if not empty_graph:  # a rebuild does both itself
                self._requests.write_missing()
                self.project_pending()
            self._projection.start()
            self._held = held.pop_all()

    # --- opening and closing -----------------------------------------------------------------------

    def _tidy(self) -> None:
        """Remove temporary files of a killed writer, finish its removals and release its items."""
        swept = self.archive.sweep()
        if swept:
            self._parts.notify(f"{swept} unfinished files of an interrupted run were removed from the archive")
        upkeep.finish_removal(self._parts)
        self.archive.seal(self._parts.store_id)
        self.graph.sweep()
        with self._parts.writing() as connection:
            ledger.free_leased(connection)

    def close(self, wait_s: float | None = None) -> None:
        """Flush (see `flush`) and release the lease; a second call does nothing."""
        if not self._parts.in_own_process:
            PARENTS.append(self)
            return
        with deferred(), self._held:
            if not self._parts.lease_holder.released:
                self.flush(wait_s)

    # --- properties --------------------------------------------------------------------------------

    @property
    def graph(self) -> GraphBackend:
        return self._projection.graph

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about repairs and about files that were reused or set aside."""
        return self._parts.notices

    @property
    def owner(self) -> str:
        """Name of this writer in the leases."""
        return self._parts.lease_holder.owner

    # --- runs and items ----------------------------------------------------------------------------

    def start_run(
        self,
        name: str,
        spec: str,
        items: Sequence[WorkItem],
        circuits: Sequence[tuple[str, Extraction]] = (),
    ) -> None:
        """Store the request of a run. If the run exists, add what is new.

        Requested values that the archive already contains, from a killed run or a lost catalog, are adopted.

        Args:
            name: name of the run.
            spec: its TOML text.
            items: requested items.
            circuits: requested circuits: item id and extraction.
        """
        with self._parts.lock:
            self._requests.add_run(RunRequest(name, spec, tuple(items), tuple(circuits), now_ms()))
            with self.catalog.reading() as connection:
                lacking = ledger.pending(connection, name)
                absent = [
                    (kind, item.id)
                    for kind in answering_kinds()
                    for item in lacking
                    if self.archive.has(kind.name, item.id) and answers.checksum(connection, kind, item.id) is None
                ]
                wanted = [circuit_id(item, how) for item, how in ledger.missing_circuits(connection, name)]
                listed = {kind: ledger.answers_of(connection, name, kind) for kind in answering_kinds()}
                listed |= {CIRCUIT: ledger.circuits_of(connection, name)}
                listed |= {RESPONSE: ledger.responses_of(connection, name)}
                listed |= {EXAMPLES: ledger.examples_of(connection, name), FITS: ledger.fits_of(connection, name)}
            self._set_lost_aside(listed)
            taken = [self.adopt(kind, id) for kind, id in absent]
            taken += [self.adopt(CIRCUIT, id) for id in wanted if self.archive.has(CIRCUIT.name, id)]
            if sum(taken):
                self._parts.notify(f"{sum(taken)} results of an earlier run were found in the archive and reused")

    def keep(self, run: str, kind: StoredKind[Any], ids: Sequence[str]) -> list[str]:
        """Make a run refer to values by id, stored or not, and return those that are not stored, in order.

        Values that the archive already contains, from a killed run or a lost catalog, are adopted. It is for values
        that no item asks for, such as fits and the responses of a study.
        """
        with self._parts.lock:
            self._parts.check()
            self._requests.keep(run, [(kind.name, id) for id in ids])
            with self.catalog.reading() as connection:
                listed = answers.stored(connection, kind)
            self._set_lost_aside({kind: [id for id in ids if id in listed]})
            for id in dict.fromkeys(ids):
                if id not in listed and self.archive.has(kind.name, id):
                    self.adopt(kind, id)
            with self.catalog.reading() as connection:
                listed = answers.stored(connection, kind)
            return [id for id in dict.fromkeys(ids) if id not in listed]

    def adopt(self, kind: StoredKind[Any], id: str) -> bool:
        """List a value that is in the archive but not in the catalog; return False if its damaged file was set aside.

        The values that it refers to are listed first, if the archive contains them.
        """
        try:
            value, created = self.archive.read(kind, id)
        except StoreDamaged as error:
            self.set_aside(kind, id, error)
            return False
        for name, ids in kind.refers_to(value).items():
            for other in ids:
                if self.archive.has(name, other):
                    self.adopt(KINDS[name], other)
        self._list([(value, created)])
        return True

    def _list(self, values: Sequence[tuple[Stored, int]]) -> None:
        """List values of the archive, in one transaction, and queue circuits for the graph."""
        with self._parts.writing() as connection:
            new = [(v, created) for v, created in values if answers.add_value(connection, v, created)]
        for value, created in new:
            if isinstance(value, CircuitRecord):
                self._projection.add(value, created)
        if any(isinstance(value, Note) for value, _ in new):
            self._projection.set_notes()

    def _set_lost_aside(self, ids: Mapping[StoredKind[Any], Sequence[str]]) -> None:
        """Set aside listed values whose files are missing or cut short, so that they are computed again."""
        for kind, listed in ids.items():
            for id in listed:
                if not self.archive.looks_whole(kind.name, id):
                    self.read_sound(kind, id)

    def read_sound(self, kind: StoredKind[V], id: str) -> V | None:
        """Return a value of the archive; if it is damaged or lost, set it aside and return None."""
        try:
            return self.archive.read(kind, id)[0]
        except StoreDamaged as error:
            self.set_aside(kind, id, error)
            return None

    def set_aside(self, kind: StoredKind[Any], id: str, error: StoreDamaged) -> None:
        """Rename a damaged file, and delete its value from graph and catalog, so that it is computed again."""
        if kind.projected:
            self._projection.set_aside(id, error)
        else:
            self._parts.set_aside(kind.name, id, error)

    def pending(self, run: str) -> list[WorkItem]:
        """Return the items of a run that have not failed and lack their answer or a requested circuit, in order."""
        with self.catalog.reading() as connection:
            return ledger.pending(connection, run)

    def failures(self, run: str) -> dict[str, str]:
        """Return the error of each failed item of a run, by item id."""
        with self.catalog.reading() as connection:
            return ledger.failures(connection, run)

    def lease_item(self, id: str) -> None:
        """Set the state of an item to `leased` and count an attempt."""
        self._set_state(id, "leased", attempt=True)

    def fail(self, id: str, error: str) -> None:
        """Set the state of an item to `failed`; only `retry_failed` resets it."""
        self._set_state(id, "failed", error=error)

    def _set_state(self, id: str, state: str, *, error: str | None = None, attempt: bool = False) -> None:
        with self._parts.writing() as connection:
            if not ledger.set_state(connection, id, state, error=error, attempt=attempt):
                raise InputError(f"the catalog has no item {id}; add it with start_run first")

    def retry_failed(self, run: str) -> int:
        """Reset the failed items of a run, so that they are computed again; return their number."""
        with self._parts.writing() as connection:
            return ledger.retry_failed(connection, run)

    # --- values ------------------------------------------------------------------------------------

    def stored(self, run: str) -> tuple[set[str], set[str]]:
        """Return the ids of the answered items and of the stored circuits of a run."""
        with self.catalog.reading() as connection:
            answered = [id for kind in answering_kinds() for id in ledger.answers_of(connection, run, kind)]
            return set(answered), set(ledger.circuits_of(connection, run))

    def examples(self, run: str) -> set[str]:
        """Return the ids of the stored example images of the classes and conditions of a run."""
        with self.catalog.reading() as connection:
            return set(ledger.examples_of(connection, run))

    def has(self, kind: StoredKind[Any], id: str) -> bool:
        """Return whether a value is stored."""
        with self.catalog.reading() as connection:
            return answers.checksum(connection, kind, id) is not None

    def put(self, *values: Stored, run: str) -> None:
        """Store values and make a run refer to them; a value comes before those that refer to it.

        A discovery or a read-out completes its item; scores are stored as by `encoding.rounded`. A circuit appears in
        the graph with its group: after at most half a minute plus the time that a group takes. A response belongs to a
        run through the circuits that refer to it or by `keep`, example images through items of the same class and
        condition. A fit is kept by the run.

        A stored value is never replaced: a different value with the same id is dropped with a notice.

        Raises:
            InputError: an edge of a circuit is on no path from input to logits.
        """
        with self._parts.lock:
            self._parts.check()
            for value in values:
                if (question := kind_of(value).question(value)) is not None:
                    self._requests.add(run, *question)
                elif isinstance(value, Fit):
                    self._requests.keep(run, [(FITS.name, value.id)])
            self._list([self._first(value) for value in values])

    def add_notes(self, *notes: Note) -> None:
        """Store notes, which belong to no run; what they are about is not checked (`query.add_note` does).

        A note that is stored already is not stored again.
        """
        with self._parts.lock:
            self._parts.check()
            with self.catalog.reading() as connection:
                listed = answers.stored(connection, NOTES)
            self._set_lost_aside({NOTES: [note.id for note in notes if note.id in listed]})
            self._list([self._first(note) for note in notes])

    def take(self, kind: StoredKind[Any], ids: Sequence[str], source: Archive) -> None:
        """Store values of another store's archive with their times; a value comes before those that refer to it.

        Raises:
            StoreDamaged: a file of the other store is damaged; the values before it may be stored.
        """
        with self._parts.lock:
            self._parts.check()
            self._list([self._first(*source.read(kind, id)) for id in ids])

    def take_run(self, requests: Sequence[RunRequest]) -> None:
        """Store the requests of a run of another store. If the run exists, add what is new."""
        with self._parts.lock:
            self._requests.take(requests)

    def _first(self, value: Stored, created_ms: int | None = None) -> tuple[Stored, int]:
        """Return the value in the archive with the same id; write the given one if there is none that is sound.

        Args:
            created_ms: when the given one was stored elsewhere; by default it is stored now.
        """
        kind = kind_of(value)
        value = kind.canonical(value)
        if self.archive.has(kind.name, value.id):
            try:
                there, created = self.archive.read(kind, value.id)
            except StoreDamaged as error:
                self.set_aside(kind, value.id, error)
            else:
                if there.sha256 != value.sha256:
                    self._parts.notify(
                        f"{kind.name} {value.id} is already stored with other values (from another device or library "
                        "version): the first result was kept, this one was dropped"
                    )
                return there, created
        created = now_ms() if created_ms is None else created_ms
        self.archive.write(value, created)
        return value, created

    # --- the graph ---------------------------------------------------------------------------------

    def flush(self, wait_s: float | None = None) -> None:
        """Write all queued circuits to the graph.

        Args:
            wait_s: seconds to wait for a graph that cannot be reached; by default `projection.GRAPH_WAIT_S`.

        Raises:
            StoreUnreachable: the graph still cannot be reached; the next writer adds the circuits.
        """
        self._projection.flush(wait_s)

    def project_pending(self) -> int:
        """Write to the graph all listed circuits that it lacks or has with another checksum; return their number.

        After a kill these are a few; after the graph was lost, emptied or restored from an older copy, many.
        """
        return self._projection.fill()

    def set_similar(self, measure: str, pairs: pa.Table) -> None:
        """Replace the `SIMILAR` relationships of a measure in the graph; see `GraphBackend.set_similar`."""
        with self._parts.lock:
            self.flush()
            self.graph.set_similar(measure, pairs)

    # --- upkeep ------------------------------------------------------------------------------------

    def delete_run(self, name: str) -> None:
        """Delete a run and its references; `gc` removes values that no other run refers to.

        Raises:
            InputError: there is no such run.
        """
        with self._parts.lock:
            self._requests.delete(name)

    def gc(self) -> Table:
        """Remove values that no run refers to from graph, catalog and archive; columns `what, count`.

        Files that the catalog has never listed are kept, with a notice; `rebuild` adds them.

        Call it when nobody reads the store, since readers may have ids of removed values.
        """
        with self._parts.lock:
            self.flush()
            return upkeep.collect(self._parts, self.graph)

    def rebuild(self, old: CatalogRows | None = None) -> Table:
        """Rebuild the catalog and the graph from the archive; columns `what, count`.

        Data that only the catalog has, such as failures and times of items, are kept. Files that neither the catalog
        lists nor a run refers to are added to the run `recovered`. Damaged files are set aside and their items reset.

        Args:
            old: rows that could be read of a lost catalog; by default those of the current one.
        """
        with self._parts.lock:
            self.flush()
            self._requests.forget()
            return rebuild(self._parts, self._projection, old)
