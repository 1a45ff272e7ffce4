"""Projection of circuits into the graph: in groups, with recovery from a graph that cannot be reached.

The graph lacks the catalog's circuits minus its own, by id and checksum. So nothing is queued for a graph that cannot
be reached: when it can be reached again, it may have lost circuits or be another one, and is filled in either case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from ..circuits import CircuitRecord
from ..errors import StoreBusy, StoreDamaged, StoreUnreachable
from . import answers
from .graph import open_graph
from .graph.contract import GraphBackend
from .interrupts import deferred, safe_point
from .kinds import CIRCUIT
from .lease import LeaseLost
from .lease_holder import retry_while_busy
from .location import Location
from .noted import graph_notes
from .parts import Parts

GROUP = 50
"""Circuits per group while indexing; a thread that queues more than twice as many waits for the graph."""

REFILL = 400
"""Circuits per group when the graph is filled from the archive."""

EDGES = 500_000
"""Approximate maximum number of edges per group, because readers wait for the graph meanwhile."""

GROUP_S = 5.0
"""Minimum seconds that a circuit waits for its group to fill."""

PATIENCE, LONGEST_S = 50, 30.0
"""The wait is this multiple of the time that the last group took, up to this many seconds. The embedded engine takes a
few tenths of a second even for a small group, during which other work is slower."""

TICK_S = 0.5
"""Seconds between checks of the queue."""

GRAPH_WAIT_S = 120.0
"""Seconds to wait for a graph that cannot be reached, when all other work is done."""

AGAIN_S = 2.0
"""Seconds between attempts to reach it."""


class Projection:
    """The graph of a writer, and the queue of circuits to project into it.

    Threads that store circuits do not wait for the graph: a thread of the writer projects them. `_in_graph` is held
    while a thread writes to the graph, `_waiting` briefly while it reads or changes the queue. Locks are taken in this
    order: the writer's lock, `_in_graph`, `_waiting`.
    """

    def __init__(self, parts: Parts, location: Location) -> None:
        self._parts, self._location = parts, location
        self._in_graph, self._waiting = threading.RLock(), threading.Lock()
        self._opened: GraphBackend | None = None
        self._queue: dict[str, tuple[CircuitRecord, int]] = {}
        self._queued_at = self._took_s = 0.0
        self._unreachable: StoreUnreachable | None = None  # why the graph cannot be reached
        self._again_at = 0.0
        self._notes_are_set = False  # until the graph was compared with the catalog's notes after the last change

    def open(self, how: Callable[..., GraphBackend], wait_s: float) -> None:
        """Open the graph by `how` (`open_graph` or `recreate_graph`) and take its lease, waiting for another writer."""
        graph = self._opened = retry_while_busy(lambda: self._by(how), wait_s)
        for notice in graph.notices:
            self._parts.notify(notice)
        self._parts.lease_holder.hold(graph, wait_s)

    def start(self) -> None:
        """Start the thread that projects queued circuits and reconnects to a lost graph."""
        self._parts.lease_holder.repeat(self._tick, TICK_S)

    def close(self) -> None:
        """Close the graph, if it was opened."""
        if self._opened is not None:
            self._opened.close()

    @property
    def graph(self) -> GraphBackend:
        """The last opened graph, which may be unreachable; never a closed one.

        Raises:
            StoreError: the error that ended the writer.
        """
        self._parts.check()
        assert self._opened is not None
        return self._opened

    def _by(self, how: Callable[..., GraphBackend]) -> GraphBackend:
        place, parts = self._location, self._parts
        return how(place.graph, store_id=parts.store_id, account=place.account, permit=parts.lease_holder.permit)

    # --- circuits, in groups -----------------------------------------------------------------------

    def add(self, record: CircuitRecord, created_ms: int) -> None:
        """Queue a listed circuit; it is projected with its group, after at most `LONGEST_S`."""
        with self._waiting:
            if self._unreachable is not None:
                return  # `_rejoin` adds it
            if not self._queue:
                self._queued_at = time.monotonic()
            self._queue[record.id] = record, created_ms
            crowded = self._makes(2)
        if crowded:
            self._put_group()

    def set_notes(self) -> None:
        """Bring the graph's notes up to date now, or in `_rejoin` if the graph cannot be reached."""
        with self._in_graph:
            self._notes_are_set = False
            if self._unreachable is not None:
                return
            with self._parts.catalog.reading() as connection:
                notes = graph_notes(connection)
            try:
                self.graph.set_notes(notes)
                self._notes_are_set = True
            except StoreUnreachable as error:
                self._disconnect(error)

    def drop(self, id: str) -> None:
        """Remove a circuit from the graph, or later by `_rejoin` if the graph cannot be reached."""
        with self._in_graph:
            with self._waiting:
                self._queue.pop(id, None)
            if self._unreachable is None:
                try:
                    self.graph.remove([id])
                except StoreUnreachable as error:
                    self._disconnect(error)

    def _makes(self, groups: int) -> bool:
        """Return whether the queue fills this many groups."""
        edges = sum(record.circuit.n_edges for record, _ in self._queue.values())
        return len(self._queue) >= groups * GROUP or edges >= groups * EDGES

    def _put_group(self) -> bool:
        """Project the first group of the queue; return False if there is none or the graph cannot be reached."""
        with self._in_graph:
            if not self._queue:
                return False
            graph = self.graph
            with self._waiting:
                first = dict(islice(self._queue.items(), GROUP))
                ids = next(batches({id: record.circuit.n_edges for id, (record, _) in first.items()}))
            began = time.monotonic()
            self._notes_are_set = False  # some may be about these circuits
            try:
                _put(graph, [first[id] for id in ids])
            except StoreUnreachable as error:
                self._disconnect(error)
                return False
            with self._waiting:
                self._queue = {id: queued for id, queued in self._queue.items() if id not in ids}
                self._queued_at = time.monotonic()
                self._took_s = self._queued_at - began
            return True

    def _tick(self) -> None:
        if self._unreachable is not None:
            if time.monotonic() >= self._again_at:
                self._reconnect()
        elif self._is_due():
            self._put_group()

    def _is_due(self) -> bool:
        with self._waiting:
            patience = max(GROUP_S, min(PATIENCE * self._took_s, LONGEST_S))
            return bool(self._queue) and (self._makes(1) or time.monotonic() - self._queued_at >= patience)

    # --- filling the graph -------------------------------------------------------------------------

    def fill(self) -> int:
        """Project all listed circuits that the graph lacks or has with another checksum; return their number."""
        with self._parts.lock, self._in_graph:
            self.flush()
            with self._parts.catalog.reading() as connection:
                listed, sizes = answers.stored(connection, CIRCUIT), answers.circuit_sizes(connection)
            graph = self.graph
            present = graph.present()
            graph.remove([id for id, sha in present.items() if listed.get(id, sha) != sha])
            filled = self.load({id: sizes[id] for id, sha in listed.items() if present.get(id) != sha})
            self.set_notes()
            if filled:
                self._parts.notify(
                    f"the graph lacked {filled} of {len(listed)} circuits; they were added from the archive"
                )
            return filled

    def load(self, sizes: Mapping[str, int]) -> int:
        """Project circuits of the archive, given by id with their number of edges; return how many were sound."""
        done = 0
        for ids in batches(sizes):
            safe_point()
            group = self.sound_circuits(ids)
            _put(self.graph, group)
            done += len(group)
        return done

    # --- damaged files -----------------------------------------------------------------------------

    def sound_circuits(self, ids: Sequence[str]) -> list[tuple[CircuitRecord, int]]:
        """Return circuits of the archive with their `created_ms`; set damaged and lost ones aside."""
        sound = []
        for id in ids:
            try:
                sound.append(self._parts.archive.circuit(id))
            except StoreDamaged as error:
                self.set_aside(id, error)
        return sound

    def set_aside(self, id: str, error: StoreDamaged) -> None:
        """Remove a damaged circuit from the graph and set its file aside, so that it is computed again."""
        self.drop(id)
        self._parts.set_aside(CIRCUIT.name, id, error)

    # --- a graph that cannot be reached ------------------------------------------------------------

    def flush(self, wait_s: float | None = None) -> None:
        """Project all queued circuits; see `Writer.flush`."""
        deadline = time.monotonic() + (GRAPH_WAIT_S if wait_s is None else wait_s)
        with self._parts.lock:
            while self._put_group():
                pass
            if not self._notes_are_set:
                self.set_notes()
            while self._unreachable is not None:
                try:
                    with deferred():
                        self._rejoin(self._by(open_graph))
                except LeaseLost:
                    raise
                except (StoreUnreachable, StoreBusy) as error:
                    if time.monotonic() >= deadline:
                        raise StoreUnreachable(
                            f"{error}; nothing is lost: the missing circuits are in the archive; run the same command "
                            "again to add them to the graph"
                        ) from error
                    time.sleep(min(AGAIN_S, max(0.0, deadline - time.monotonic())))
                    safe_point()

    def _disconnect(self, error: StoreUnreachable) -> None:
        if self._unreachable is None:
            self._parts.notify(
                f"{error}; the work continues without it: results are stored in the archive, and added to the graph "
                "when it can be reached again"
            )
        with self._waiting:
            self._unreachable, self._queue = error, {}
            self._again_at = time.monotonic() + AGAIN_S
        self._parts.lease_holder.drop_graph()

    def _reconnect(self) -> None:
        """Try, in the writer's thread, to open a lost graph again, without blocking other threads."""
        self._again_at = time.monotonic() + AGAIN_S
        graph = self._by(open_graph)
        if self._parts.lock.acquire(timeout=AGAIN_S):
            try:
                if self._unreachable is not None and not self._parts.lease_holder.released:
                    self._rejoin(graph)
                    return
            finally:
                self._parts.lock.release()
        graph.close()

    def _rejoin(self, graph: GraphBackend) -> None:
        """Continue with a graph that was opened again, and fill it. The caller holds the writer's lock."""
        try:
            lost = self.graph
            self._parts.lease_holder.hold(graph)
        except BaseException:
            graph.close()
            raise
        self._opened, self._unreachable = graph, None
        lost.close()
        try:
            graph.sweep()
            self.fill()
        except StoreUnreachable as error:
            self._disconnect(error)
            raise


def _put(graph: GraphBackend, group: Sequence[tuple[CircuitRecord, int]]) -> None:
    """Write circuits, given with their `created_ms`, to a graph."""
    if group:
        graph.put([record for record, _ in group], {record.id: created for record, created in group})


def batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield groups of circuit ids, at most `REFILL` circuits and about `EDGES` edges each.

    Args:
        sizes: number of edges of each circuit, by id.
    """
    batch: list[str] = []
    edges = 0
    for id, size in sizes.items():
        if batch and (len(batch) == REFILL or edges + size > EDGES):
            yield batch
            batch, edges = [], 0
        batch.append(id)
        edges += size
    if batch:
        yield batch
