"""Writing of answers: a thread stores an item while the next one is computed.

The store gets the same calls, in the same order and one at a time, as from a run that writes each item before it
computes the next. So its guarantees for a killed writer hold here too.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from ..circuits import CircuitRecord, Discovery, ReadoutRecord, Response, WorkItem
from ..errors import CircuitStoreError, StoreError
from ..evaluation import Journal
from ..store import Writer
from ..store.interrupts import deferred

log = logging.getLogger("circuitstore")

AHEAD = 1
"""Number of items that may wait to be stored; the scores of each are in memory."""

ITEMS_OWN = (CircuitStoreError, RuntimeError, ArithmeticError, OSError)
"""Errors of a single item, after which the run continues; except `StoreError`, which ends the run."""

Step = tuple[WorkItem, Callable[[], object]]


class Storing:
    """The writing side of a run; a context manager that waits at its end until everything queued is stored.

    Its methods queue a step and return. An error of an item is recorded as its failure, and its later steps are
    skipped. A `StoreError` ends the run: nothing is written after it, and the next method called raises it.

    The threads share only queues, because Ctrl-C may interrupt the computing thread at any instant, and waiting for a
    queue can be interrupted safely. Therefore the writing thread calls only the store. With a shared lock, such as that
    of a progress bar, the computing thread could be interrupted while it has the lock, and then wait in `__exit__` for
    the writing thread forever (a deadlock).

    Attributes:
        done: number of items that are completely stored; final at the end, like the others.
        circuits: number of circuits stored.
        failed: error by item id.
    """

    def __init__(self, writer: Writer, run: str) -> None:
        self._writer, self._run = writer, run
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()  # the error, or None, of every step
        self._queued: deque[str] = deque()  # item of every step whose result was not read yet
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="circuitstore-storing", daemon=True)
        self.done = self.circuits = 0
        self.failed: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            with deferred():
                self._thread.start()
            return self
        except BaseException:  # after Ctrl-C, `__exit__` is not called, and the thread would wait forever
            self._steps.put(None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with deferred():  # answers are stored in spite of a later error
            self._steps.put(None)
            self._thread.join()
        if self._broken is None or self._broken is error:
            return
        if error is None:
            raise self._broken
        log.warning("%s", self._broken)

    # --- called by the computing thread ------------------------------------------------------------

    @property
    def ended(self) -> int:
        """Number of items that are stored or failed."""
        return self.done + len(self.failed)

    def begin(self) -> None:
        """Wait until the queue has room for another item."""
        self.check()
        while len(set(self._queued)) > AHEAD:
            self._read_one()

    def lease(self, item: WorkItem) -> None:
        """Lease an item."""
        self._queue(item, lambda: self._writer.lease_item(item.id))

    def discovery(self, discovery: Discovery, journal: Journal) -> None:
        """Store the answer to an item, and then remove its journal."""

        def put() -> None:
            self._writer.put(discovery, run=self._run)
            journal.remove()

        self._queue(discovery.item, put)

    def circuit(self, record: CircuitRecord, responses: Sequence[Response] = ()) -> None:
        """Store a circuit with the responses that it refers to."""

        def put() -> None:
            self._writer.put(*responses, record, run=self._run)
            self.circuits += 1

        self._queue(record.item, put)

    def readout(self, record: ReadoutRecord) -> None:
        """Store a read-out."""
        self._queue(record.item, lambda: self._writer.put(record, run=self._run))

    def end(self, item: WorkItem) -> None:
        """Count an item as done."""

        def count() -> None:
            self.done += 1

        self._queue(item, count)

    def fail(self, item: WorkItem, error: BaseException) -> None:
        """Record that an item failed; the parts queued so far are kept."""
        message = _message(error)
        self._queue(item, lambda: self._fail(item.id, message))

    def check(self) -> None:
        """Raise the error that ended the writing, if any, without waiting."""
        while not self._ended.empty():
            self._read_one()

    def _queue(self, item: WorkItem, act: Callable[[], object]) -> None:
        self.check()
        self._queued.append(item.id)
        self._steps.put((item, act))

    def _read_one(self) -> None:
        error = self._ended.get()
        self._queued.popleft()
        if error is not None:
            raise error

    # --- the writing thread ------------------------------------------------------------------------

    def _work(self) -> None:
        while step := self._steps.get():
            item, act = step
            try:
                if self._broken is None and item.id not in self.failed:
                    self._take(item, act)
            except BaseException as error:  # any error must reach the run
                self._broken = error
            self._ended.put(self._broken)

    def _take(self, item: WorkItem, act: Callable[[], object]) -> None:
        try:
            act()
        except StoreError:
            raise
        except ITEMS_OWN as error:
            self._fail(item.id, _message(error))

    def _fail(self, id: str, message: str) -> None:
        self._writer.fail(id, message)
        self.failed[id] = message


def _message(error: BaseException) -> str:
    log.debug("item failed", exc_info=error)
    return str(error) or type(error).__name__
