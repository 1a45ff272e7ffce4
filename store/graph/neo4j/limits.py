"""The limits of a user's query on Neo4j that its server and driver do not keep exactly.

The server looks at its clock every two seconds, later on a busy machine, and sends a row of any size; the driver waits
for the server, and reads what comes into memory. So a query runs in a thread of its own that is not waited for beyond
the query's time, and the bytes that its connection receives are counted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import neo4j

from ....errors import StoreUnreachable
from ...interrupts import AGAIN_S, safe_point
from .. import errors

T = TypeVar("T")

LATE_S = 0.5
"""Seconds after its timeout at which a query is given up that the server has not ended."""


class _Stop(asyncio.CancelledError):
    """Raised where the driver reads: it then drops the connection, and the server ends the transaction."""


class Limits:
    """The time and the bytes of one query. `work` in `keep` must run its transaction within `on`."""

    def __init__(self, url: str, timeout_s: float, max_mib: int) -> None:
        self._url, self._timeout_s, self._max_mib = url, timeout_s, max_mib
        self._received, self._begun = 0, False
        self._stopped = False
        self._socket: Any = None
        self._lock = threading.Lock()

    def keep(self, work: Callable[[], T]) -> T:
        """What `work` gives in a thread of its own, which is left to itself when the time is over.

        Raises:
            QueryFailed: the time is over, or the answer is larger than it may be; and what `work` raises.
            StoreUnreachable: the time was over before the server began.
        """
        ends = time.monotonic() + self._timeout_s + LATE_S
        answer: Future[T] = Future()
        threading.Thread(target=self._run, args=(work, answer), daemon=True).start()
        try:
            while not wait([answer], max(0.0, min(AGAIN_S, ends - time.monotonic()))).done:
                safe_point()
                if time.monotonic() > ends:
                    raise self._late()
            return answer.result()
        finally:
            if not answer.done():
                self._stop()

    def _late(self) -> Exception:
        if self._begun:
            return errors.too_long(self._timeout_s)
        return StoreUnreachable(
            f"{self._url} has not begun the query within {self._timeout_s:g} s: its server is busy, or is starting; "
            "try again, or allow the query more time"
        )

    def _run(self, work: Callable[[], T], answer: Future[T]) -> None:
        try:
            answer.set_result(work())
        except _Stop:
            answer.set_exception(errors.too_large(self._max_mib))
        except BaseException as error:
            answer.set_exception(error)

    @contextmanager
    def on(self, tx: neo4j.ManagedTransaction) -> Iterator[None]:
        """A transaction that has just begun, with what it receives counted.

        The driver has no public way to count: where its inside is another, only the server limits the size of a row.
        """
        self._begun = True
        inbox: Any = getattr(getattr(tx, "_connection", None), "inbox", None)
        socket = getattr(inbox, "_socket", None)
        if socket is None:
            yield
            return
        with self._lock:
            self._socket = socket
            inbox._socket = _Counted(socket, self.count)
        try:
            yield
        finally:
            with self._lock:
                inbox._socket, self._socket = socket, None

    def count(self, received: int) -> None:
        """Stop the transaction if, with these bytes, it has received too many, or is not waited for any more."""
        self._received += received
        if self._stopped or self._received > self._max_mib << 20:
            raise _Stop

    def _stop(self) -> None:
        """Drop the connection, if the transaction is still there."""
        with self._lock:
            self._stopped = True
            if self._socket is not None:
                self._socket.close()


class _Counted:
    """A socket of the driver's that tells how many bytes it receives."""

    def __init__(self, socket: Any, count: Callable[[int], None]) -> None:
        self._socket, self._count = socket, count

    def recv_into(self, buffer: memoryview, size: int) -> int:
        received = self._socket.recv_into(buffer, size)
        self._count(received)
        return received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
