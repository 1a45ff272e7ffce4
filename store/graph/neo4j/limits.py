"""Limits of a user's query that the Neo4j server and driver do not enforce exactly.

The server checks timeouts every two seconds, or later if it is busy, and sends rows of any size. The driver waits for
the server and reads everything into memory. A query therefore runs in a separate thread, which is abandoned after the
query's timeout, and the bytes that its connection receives are counted.
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
"""Seconds after its timeout at which a query is abandoned if the server has not ended it."""


class _Stop(asyncio.CancelledError):
    """Raised in the driver's read: it then drops the connection, and the server ends the transaction."""


class Limits:
    """The time and size limits of one query. The `work` of `keep` must run its transaction within `on`."""

    def __init__(self, url: str, timeout_s: float, max_mib: int) -> None:
        self._url, self._timeout_s, self._max_mib = url, timeout_s, max_mib
        self._received, self._begun = 0, False
        self._stopped = False
        self._socket: Any = None
        self._lock = threading.Lock()

    def keep(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, run in a separate thread that is abandoned after the timeout.

        Errors of `work` are raised here.

        Raises:
            QueryFailed: the timeout has passed, or the answer is too large.
            StoreUnreachable: the timeout passed before the server began.
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
            f"{self._url} has not begun the query within {self._timeout_s:g} s: the server is busy or starting; "
            "try again, or raise the query's timeout"
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
        """Count the bytes that a transaction receives; enter when it has just begun.

        The driver has no public API for this. If its internals differ, only the server limits the size of a row.
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
        """Stop the transaction if these bytes exceed the limit, or if it was abandoned."""
        self._received += received
        if self._stopped or self._received > self._max_mib << 20:
            raise _Stop

    def _stop(self) -> None:
        """Drop the connection if the transaction is still running."""
        with self._lock:
            self._stopped = True
            if self._socket is not None:
                self._socket.close()


class _Counted:
    """A socket of the driver that reports how many bytes it receives."""

    def __init__(self, socket: Any, count: Callable[[int], None]) -> None:
        self._socket, self._count = socket, count

    def recv_into(self, buffer: memoryview, size: int) -> int:
        received = self._socket.recv_into(buffer, size)
        self._count(received)
        return received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
