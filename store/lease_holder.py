"""Holding the right to write: a lease in the catalog and one in the graph, renewed until they are given back.

The catalog's decides who writes; the graph's names the writer to whoever sees only the graph. Each is renewed
by a thread of its own: a database may let one wait for long (a bulk load, a backup), and that must not cost
the other. A lease that ran out is renewed like any other if nobody has taken it since; one that somebody took is lost,
even if it is free again: `LeaseHolder.permit` and `LeaseHolder.writing` let nothing take effect after that.
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
"""Seconds until what failed in a thread is tried again."""


class LeaseHolder:
    """The lease of one writer, from its making to `release`.

    Attributes:
        owner: the writer, as the leases name it.
    """

    def __init__(self, catalog: Catalog, folder: Path, wait_s: float = 0.0) -> None:
        """Take the lease in the catalog of the store in a folder, waiting for another writer to end.

        Raises:
            StoreBusy: another writer holds it; the message names it.
        """
        self._owner, self._catalog = Owner.new(), catalog
        self.owner = self._owner.text
        self._fence = Fence(folder, self.owner)
        self._graph: GraphBackend | None = None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._broken: StoreError | None = None
        try:
            patiently(self._claim, wait_s)
        except BaseException:
            self._owner.retire()
            raise
        self.repeat(self._renew, RENEW_S)
        self.repeat(self._renew_in_graph, RENEW_S)

    def hold(self, graph: GraphBackend, wait_s: float = 0.0) -> None:
        """Take the lease in the graph as well, in the place of an earlier one; `release` closes the graph."""

        def claim() -> None:
            held = graph.lease()
            over = held.owner if held is not None and is_dead(held.owner) else None
            graph.claim(self.owner, _until(), over=over)

        patiently(claim, wait_s)
        self._graph = graph

    def let_go(self) -> None:
        """Leave a graph that cannot be reached to itself; its lease lapses."""
        self._graph = None

    def repeat(self, act: Callable[[], None], every_s: float) -> None:
        """Do something again and again in a thread, until `release`.

        A `StoreError` is logged and the thing tried again, but a lost lease, and any other error, ends the writer.
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
            except BaseException as error:  # whatever it is, those who call the writer must hear of it
                log.exception("the writer was ended by an error in its thread")
                self._broken = StoreError(
                    f"the writer was ended by an error of its own ({type(error).__name__}: {error}); what was stored "
                    "before stays: run the same command again, and report the error, which the log tells in full"
                )

    def _claim(self) -> None:
        with self._catalog.reading() as connection:
            catalog_lease.check_claim(connection)  # else a writer that is at work would be held up
        with self._fence.closed() as name_us, self._catalog.writing() as connection:
            catalog_lease.claim(connection, self.owner, _until())
            name_us()  # before the commit: killed in between, the earlier writer is still the one

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
        """Raise what ended the writer, if something did."""
        if self.released:
            raise StoreError("this writer is closed; ask the store for another")
        if self._broken is not None:
            raise self._broken

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the catalog in which the lease is known to be ours.

        Raises:
            LeaseLost: it is not any more.
        """
        self.check()
        with self._catalog.writing() as connection:
            if (holder := self._holder(connection)) != self.owner:
                raise self._ended_by(LeaseLost.to(holder))
            yield connection

    @contextlib.contextmanager
    def permit(self) -> Iterator[None]:
        """For one act outside of the catalog, while which nobody else becomes the writer; see `lease.Permit`.

        Raises:
            LeaseLost: the lease is not ours any more.
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
        """Give the leases back, the graph closed before the next writer asks for it."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with contextlib.ExitStack() as steps:  # each is taken even if another fails; last in, first out
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


def patiently(act: Callable[[], T], wait_s: float) -> T:
    """What `act` gives, tried again for so long as another writer is in the way."""
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
