"""What a run finds, on its way into the store: a thread writes it while the next item is computed.

The store sees the calls of a run that writes before it computes on, in the same order and one at a time, only later.
So whatever it promises of a writer that is killed holds here too.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from ..circuits import CircuitRecord, Discovery, Response, WorkItem
from ..errors import CircuitStoreError, StoreError
from ..evaluation import Journal
from ..store import Writer
from ..store.interrupts import deferred

log = logging.getLogger("circuitstore")

AHEAD = 1
"""Items that may wait to be stored while the next is computed: each holds its scores in memory."""

ITEMS_OWN = (CircuitStoreError, RuntimeError, ArithmeticError, OSError)
"""Errors that are an item's own, so that the run goes on without it; but `StoreError` ends the run."""

Step = tuple[WorkItem, Callable[[], object]]


class Storing:
    """The writing side of a run; a context manager, whose end waits until all that was handed over is stored.

    Its methods hand over and return. What is wrong with an item is recorded as its failure, and the rest of it is left
    out. What the store raises ends the run: nothing is written after it, and the next method called raises it.

    Queues alone pass between the threads: waiting for one may be interrupted by Ctrl-C at any instant. So the thread
    calls nothing but the store: of any lock that the two shared, such as a progress bar's, the one that computes could
    be torn away while it holds it, and then would wait here for the other for ever.

    Attributes, to be read at the end:
        done: items of which everything is stored.
        circuits: circuits stored.
        failed: error by item id.
    """

    def __init__(self, writer: Writer, run: str) -> None:
        self._writer, self._run = writer, run
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()  # with what, for every step
        self._handed: deque[str] = deque()  # item of every step whose end was not seen yet
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="circuitstore-storing", daemon=True)
        self.done = self.circuits = 0
        self.failed: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            with deferred():
                self._thread.start()
            return self
        except BaseException:  # Ctrl-C: there is no `__exit__` then, and the thread would wait for ever
            self._steps.put(None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with deferred():  # what was found is not thrown away because of what came after it
            self._steps.put(None)
            self._thread.join()
        if self._broken is None or self._broken is error:
            return
        if error is None:
            raise self._broken
        log.warning("%s", self._broken)

    # --- for the thread that computes --------------------------------------------------------------

    @property
    def ended(self) -> int:
        """Items that are stored or failed by now."""
        return self.done + len(self.failed)

    def begin(self) -> None:
        """Before an item: wait until so few are on their way that another may follow."""
        self.check()
        while len(set(self._handed)) > AHEAD:
            self._see_one()

    def lease(self, item: WorkItem) -> None:
        """An item is being worked at."""
        self._hand(item, lambda: self._writer.lease_item(item.id))

    def discovery(self, discovery: Discovery, journal: Journal) -> None:
        """The answer to an item; its journal is of no use any more when that is stored."""

        def put() -> None:
            self._writer.put(discovery, run=self._run)
            journal.remove()

        self._hand(discovery.item, put)

    def circuit(self, record: CircuitRecord, responses: Sequence[Response] = ()) -> None:
        """A circuit, with the responses that it refers to."""

        def put() -> None:
            self._writer.put(*responses, record, run=self._run)
            self.circuits += 1

        self._hand(record.item, put)

    def end(self, item: WorkItem) -> None:
        """That was all of an item."""

        def count() -> None:
            self.done += 1

        self._hand(item, count)

    def fail(self, item: WorkItem, error: BaseException) -> None:
        """An item has come to nothing, or to no more than was handed over."""
        message = _message(error)
        self._hand(item, lambda: self._fail(item.id, message))

    def check(self) -> None:
        """Raise what ended the writing, if something did; waits for nothing."""
        while not self._ended.empty():
            self._see_one()

    def _hand(self, item: WorkItem, act: Callable[[], object]) -> None:
        self.check()
        self._handed.append(item.id)
        self._steps.put((item, act))

    def _see_one(self) -> None:
        error = self._ended.get()
        self._handed.popleft()
        if error is not None:
            raise error

    # --- the thread that writes --------------------------------------------------------------------

    def _work(self) -> None:
        while step := self._steps.get():
            item, act = step
            try:
                if self._broken is None and item.id not in self.failed:
                    self._take(item, act)
            except BaseException as error:  # whatever it is, the run must hear of it
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
