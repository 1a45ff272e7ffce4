"""The leases of a writer in the catalog and in the graph, renewed until they are released.

The catalog's lease decides who may write; the graph's names the writer to processes that see only the graph. Each is
renewed by its own thread, because a database may block for long (a bulk load, a backup). An expired lease is renewed
like any other unless another writer has taken it since. Then it is lost, even if it is free again, and
`LeaseHolder.permit` and `LeaseHolder.writing` raise LeaseLost.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from ..errors import StoreBusy, StoreError
from . import catalog_lease
from .catalog import Catalog
from .fence import Fence
from .graph.contract import GraphBackend
from .interrupts import safe_point
from .lease import LEASE_S, RENEW_S, LeaseLost, Owner, is_dead, now_ms

T = TypeVar("T")
log = logging.getLogger("circuitstore")

RETRY_S = 5.0
"""Minimum seconds until a failed action of a thread is tried again."""


class LeaseHolder:
    """The lease of one writer, from its creation to `release`.

    Attributes:
        owner: name of the writer in the leases.
    """

    def __init__(self, catalog: Catalog, folder: Path, wait_s: float = 0.0) -> None:
        """Take the lease in the catalog of the store in a folder, waiting for another writer to finish.

        Raises:
            StoreBusy: another writer holds the lease; the message names it.
        """
        self._owner, self._catalog = Owner.new(), catalog
        self.owner = self._owner.text
        self._fence = Fence(folder, self.owner)
        self._graph: GraphBackend | None = None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._broken: StoreError | None = None
        try:
            retry_while_busy(self._claim, wait_s)
        except BaseException:
            self._owner.retire()
            raise
        self.repeat(self._renew, RENEW_S)
        self.repeat(self._renew_in_graph, RENEW_S)

    def hold(self, graph: GraphBackend, wait_s: float = 0.0) -> None:
        """Take the lease in the graph, which replaces an earlier one; `release` closes the graph."""

        def claim() -> None:
            held = graph.lease()
            over = held.owner if held is not None and is_dead(held.owner) else None
            graph.claim(self.owner, _until(), over=over)

        retry_while_busy(claim, wait_s)
        self._graph = graph

    def drop_graph(self) -> None:
        """Forget a graph that cannot be reached; its lease expires."""
        self._graph = None

    def repeat(self, act: Callable[[], None], every_s: float) -> None:
        """Call a function repeatedly in a thread, until `release`.

        A `StoreError` is logged, and the function called again; a lost lease and any other error end the writer.
        """
        thread = threading.Thread(target=self._repeat, args=(act, every_s), name="circuitstore-writer", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _repeat(self, act: Callable[[], None], every_s: float) -> None:
        wait = every_s
        while not self._stop.wait(wait) and self._broken is None:
            wait = every_s
            try:
                act()
            except LeaseLost as error:
                self._broken = error
            except StoreError as error:
                log.info("the writer will try again: %s", error)
                wait = min(max(wait, RETRY_S), RENEW_S)
            except BaseException as error:  # every method of the writer raises it
                log.exception("the writer was ended by an error in its thread")
                self._broken = StoreError(
                    f"the writer was ended by an internal error ({type(error).__name__}: {error}); stored values are "
                    "kept; run the same command again, and report the error with its traceback in the log"
                )

    def _claim(self) -> None:
        with self._catalog.reading() as connection:
            catalog_lease.check_claim(connection)  # before the fence, which blocks a running writer
        with self._fence.closed() as name_us, self._catalog.writing() as connection:
            catalog_lease.claim(connection, self.owner, _until())
            name_us()  # before the commit: after a kill in between, the earlier writer still has the lease

    def _renew(self) -> None:
        with self.writing() as connection:
            catalog_lease.renew(connection, self.owner, _until())

    def _renew_in_graph(self) -> None:
        graph = self._graph
        if graph is not None:
            graph.renew(self.owner, _until())

    @property
    def released(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raise the error that ended the writer, if any."""
        if self.released:
            raise StoreError("this writer is closed; open another with Store.writer")
        if self._broken is not None:
            raise self._broken

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a transaction of the catalog, after checking in it that this writer has the lease.

        Raises:
            LeaseLost: it has lost the lease.
        """
        self.check()
        with self._catalog.writing() as connection:
            if (holder := self._holder(connection)) != self.owner:
                raise self._ended_by(LeaseLost.to(holder))
            yield connection

    @contextlib.contextmanager
    def permit(self) -> Iterator[None]:
        """Allow one act outside the catalog, during which no other writer can start; see `lease.Permit`.

        Raises:
            LeaseLost: this writer has lost the lease.
        """
        self.check()
        with contextlib.ExitStack() as acting:
            try:
                acting.enter_context(self._fence.act(self._holds))
            except LeaseLost as error:
                raise self._ended_by(error) from None
            yield

    def _holds(self) -> bool:
        with self._catalog.reading() as connection:
            return self._holder(connection) == self.owner

    def _holder(self, connection: Connection) -> str | None:
        held = catalog_lease.holder(connection)
        return None if held is None else held[0]

    def _ended_by(self, error: LeaseLost) -> LeaseLost:
        self._broken = error
        return error

    def release(self) -> None:
        """Release the leases, after closing the graph, which the next writer opens."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with contextlib.ExitStack() as steps:  # each runs even if another fails; last in, first out
            steps.callback(self._owner.retire)
            steps.callback(self._release)
            if self._graph is not None:
                steps.callback(self._graph.close)
                steps.callback(self._graph.release, self.owner)

    def _release(self) -> None:
        with self._catalog.writing() as connection:
            catalog_lease.release(connection, self.owner)
        self._fence.leave()


def _until() -> int:
    return now_ms() + int(1000 * LEASE_S)


def retry_while_busy(act: Callable[[], T], wait_s: float) -> T:
    """Return the result of `act`, which is called again while it raises StoreBusy, for up to `wait_s` seconds."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return act()
        except LeaseLost:
            raise
        except StoreBusy:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(0.5, left))
            safe_point()
