"""The writer's way into the graph: circuits in groups, on without a graph that is away, and filling in what it lacks.

What the graph lacks is the catalog's circuits minus the graph's, by id and checksum. So nothing is kept for a graph
that cannot be reached: when it is there again it may have lost much, or be another, and is filled in all the same.
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
from .lease_holder import patiently
from .location import Location
from .parts import Parts

GROUP = 50
"""Circuits projected at once while indexing; whoever puts more than twice as many waits for the graph."""

REFILL = 400
"""Circuits read and projected at once when the graph is filled from the archive."""

EDGES = 500_000
"""Edges at once, whatever the number of circuits: others wait for the graph meanwhile."""

GROUP_S = 5.0
"""Seconds that a circuit waits for others, where the graph is quick."""

PATIENCE, LONGEST_S = 50, 30.0
"""How often as long as the last group took it waits else, up to so many seconds: the embedded engine takes a few tenths
of a second for a group however small, which beside the work that goes on are lost to that."""

TICK_S = 0.5
"""Seconds between looks at the queue."""

GRAPH_WAIT_S = 120.0
"""Seconds for which a graph that cannot be reached is waited for when there is nothing else to do."""

AGAIN_S = 2.0
"""Seconds between looks whether it can be reached again."""


class Projection:
    """The graph of a writer, and the circuits on their way into it.

    Those who put circuits do not wait for the graph: a thread of the writer brings them there. One thread at a time is
    at work in it, by `_in_graph`; `_waiting` is held for moments, to see what is to be done. Both are taken after the
    writer's lock, where that is needed too, and in this order.
    """

    def __init__(self, parts: Parts, location: Location) -> None:
        self._parts, self._location = parts, location
        self._in_graph, self._waiting = threading.RLock(), threading.Lock()
        self._opened: GraphBackend | None = None
        self._queue: dict[str, tuple[CircuitRecord, int]] = {}
        self._queued_at = self._took_s = 0.0
        self._away: StoreUnreachable | None = None  # why the graph is done without for now
        self._again_at = 0.0

    def open(self, how: Callable[..., GraphBackend], wait_s: float) -> None:
        """Open the graph (`how`: `open_graph` or `recreate_graph`) and take its lease, waiting for another writer."""
        graph = self._opened = patiently(lambda: self._by(how), wait_s)
        for notice in graph.notices:
            self._parts.say(notice)
        self._parts.lease_holder.hold(graph, wait_s)

    def start(self) -> None:
        """From now on no circuit waits long, and a graph that is away is looked for."""
        self._parts.lease_holder.repeat(self._tick, TICK_S)

    def close(self) -> None:
        """Let go of the graph, if it was opened."""
        if self._opened is not None:
            self._opened.close()

    @property
    def graph(self) -> GraphBackend:
        """Its database, as opened last: while it is away, the one that was lost. Readers never get a closed one.

        Raises:
            StoreError: what ended the writer.
        """
        self._parts.check()
        assert self._opened is not None
        return self._opened

    def _by(self, how: Callable[..., GraphBackend]) -> GraphBackend:
        place, parts = self._location, self._parts
        return how(place.graph, store_id=parts.store_id, account=place.account, permit=parts.lease_holder.permit)

    # --- circuits, in groups -----------------------------------------------------------------------

    def add(self, record: CircuitRecord, created_ms: int) -> None:
        """Bring a circuit that the catalog lists into the graph, with its group, after `LONGEST_S` at the latest."""
        with self._waiting:
            if self._away is not None:
                return  # it is filled in when the graph is there again
            if not self._queue:
                self._queued_at = time.monotonic()
            self._queue[record.id] = record, created_ms
            crowded = self._makes(2)
        if crowded:
            self._put_group()

    def drop(self, id: str) -> None:
        """Take a circuit out of the graph; from one that is away it goes when that is there again."""
        with self._in_graph:
            with self._waiting:
                self._queue.pop(id, None)
            if self._away is None:
                try:
                    self.graph.remove([id])
                except StoreUnreachable as error:
                    self._do_without(error)

    def _makes(self, groups: int) -> bool:
        """Whether what is queued makes so many groups."""
        edges = sum(record.circuit.n_edges for record, _ in self._queue.values())
        return len(self._queue) >= groups * GROUP or edges >= groups * EDGES

    def _put_group(self) -> bool:
        """Bring the first group of the queue into the graph, if that can be reached; returns whether that was done."""
        with self._in_graph:
            if not self._queue:
                return False
            graph = self.graph
            with self._waiting:
                first = dict(islice(self._queue.items(), GROUP))
                ids = next(batches({id: record.circuit.n_edges for id, (record, _) in first.items()}))
            began = time.monotonic()
            try:
                _put(graph, [first[id] for id in ids])
            except StoreUnreachable as error:
                self._do_without(error)
                return False
            with self._waiting:
                self._queue = {id: queued for id, queued in self._queue.items() if id not in ids}
                self._queued_at = time.monotonic()
                self._took_s = self._queued_at - began
            return True

    def _tick(self) -> None:
        if self._away is not None:
            if time.monotonic() >= self._again_at:
                self._look_again()
        elif self._is_due():
            self._put_group()

    def _is_due(self) -> bool:
        with self._waiting:
            patience = max(GROUP_S, min(PATIENCE * self._took_s, LONGEST_S))
            return bool(self._queue) and (self._makes(1) or time.monotonic() - self._queued_at >= patience)

    # --- what the graph lacks ----------------------------------------------------------------------

    def fill(self) -> int:
        """Bring into the graph what the catalog lists and the graph lacks, or has otherwise; returns how many."""
        with self._parts.lock, self._in_graph:
            self.flush()
            with self._parts.catalog.reading() as connection:
                listed, sizes = answers.stored(connection, CIRCUIT), answers.circuit_sizes(connection)
            graph = self.graph
            present = graph.present()
            graph.remove([id for id, sha in present.items() if listed.get(id, sha) != sha])
            filled = self.load({id: sizes[id] for id, sha in listed.items() if present.get(id) != sha})
            if filled:
                self._parts.say(
                    f"the graph lacked {filled} of {len(listed)} circuits; they were filled in from the archive"
                )
            return filled

    def load(self, sizes: Mapping[str, int]) -> int:
        """Bring circuits of the archive, given by id with their edges, into the graph; returns how many were sound."""
        done = 0
        for ids in batches(sizes):
            safe_point()
            group = self.sound_circuits(ids)
            _put(self.graph, group)
            done += len(group)
        return done

    # --- damaged files -----------------------------------------------------------------------------

    def sound_circuits(self, ids: Sequence[str]) -> list[tuple[CircuitRecord, int]]:
        """Circuits of the archive with their `created_ms`; damaged and lost ones are set aside and left out."""
        sound = []
        for id in ids:
            try:
                sound.append(self._parts.archive.circuit(id))
            except StoreDamaged as error:
                self.set_aside(id, error)
        return sound

    def set_aside(self, id: str, error: StoreDamaged) -> None:
        """Put a damaged circuit away, out of the graph first, so that it is computed again."""
        self.drop(id)
        self._parts.set_aside(CIRCUIT.name, id, error)

    # --- a graph that is away ----------------------------------------------------------------------

    def flush(self, wait_s: float | None = None) -> None:
        """Bring into the graph what it lacks of what was put; see `Writer.flush`."""
        deadline = time.monotonic() + (GRAPH_WAIT_S if wait_s is None else wait_s)
        with self._parts.lock:
            while self._put_group():
                pass
            while self._away is not None:
                try:
                    with deferred():
                        self._rejoin(self._by(open_graph))
                except LeaseLost:
                    raise
                except (StoreUnreachable, StoreBusy) as error:
                    if time.monotonic() >= deadline:
                        raise StoreUnreachable(
                            f"{error}; nothing is lost: what the graph lacks is in the archive, and the same command "
                            "run again fills it in"
                        ) from error
                    time.sleep(min(AGAIN_S, max(0.0, deadline - time.monotonic())))
                    safe_point()

    def _do_without(self, error: StoreUnreachable) -> None:
        if self._away is None:
            self._parts.say(
                f"{error}; the work goes on without it: what is found is kept in the archive, and brought into the "
                "graph when that can be reached again"
            )
        with self._waiting:
            self._away, self._queue = error, {}
            self._again_at = time.monotonic() + AGAIN_S
        self._parts.lease_holder.let_go()

    def _look_again(self) -> None:
        """Look, in the writer's thread, whether the graph can be reached again; nobody is held up by the looking."""
        self._again_at = time.monotonic() + AGAIN_S
        graph = self._by(open_graph)
        if self._parts.lock.acquire(timeout=AGAIN_S):
            try:
                if self._away is not None and not self._parts.lease_holder.released:
                    self._rejoin(graph)
                    return
            finally:
                self._parts.lock.release()
        graph.close()

    def _rejoin(self, graph: GraphBackend) -> None:
        """Go on with a graph that was opened anew: it may have lost much, or be another. Under the writer's lock."""
        try:
            lost = self.graph
            self._parts.lease_holder.hold(graph)
        except BaseException:
            graph.close()
            raise
        self._opened, self._away = graph, None
        lost.close()
        try:
            graph.sweep()
            self.fill()
        except StoreUnreachable as error:
            self._do_without(error)
            raise


def _put(graph: GraphBackend, group: Sequence[tuple[CircuitRecord, int]]) -> None:
    """Circuits with their `created_ms`."""
    if group:
        graph.put([record for record, _ in group], {record.id: created for record, created in group})


def batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Circuits, given by id with their edges, in groups of at most `REFILL` and about `EDGES`, at least one."""
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
