"""A fair lock for threads that read and write one database."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ...interrupts import await_, unbroken


class Turns:
    """A lock that lets one thread write at a time, and any number read while none writes.

    No thread waits forever: a waiting writer goes before readers that arrive later, and readers that wait when a write
    ends go before the next write. The lock is reentrant: the writing thread may read, and write again.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._writer: int | None = None  # the thread that writes
        self._depth = 0  # of nested writes by this thread
        self._readers = 0  # number of threads that read
        self._to_write = self._to_read = 0  # number of threads that wait
        self._next = 0  # number of waiting readers that go before the next write

    @unbroken
    def writing(self) -> Iterator[None]:
        """Enter a turn to write."""
        me = threading.get_ident()
        with self._change:
            if self._writer != me:
                self._await_writing()
                self._writer = me
            self._depth += 1
        try:
            yield
        finally:
            with self._change:
                self._depth -= 1
                if not self._depth:
                    self._writer, self._next = None, self._to_read
                    self._change.notify_all()

    @unbroken
    def reading(self) -> Iterator[None]:
        """Enter a turn to read."""
        with self._change:
            writes = self._writer == threading.get_ident()
            if not writes:
                self._await_reading()
                self._readers += 1
        try:
            yield
        finally:
            if not writes:
                with self._change:
                    self._readers -= 1
                    self._change.notify_all()

    def _await_writing(self) -> None:
        self._to_write += 1
        try:
            await_(self._change, lambda: self._writer is None and not self._readers and not self._next)
        finally:
            self._to_write -= 1
            self._change.notify_all()

    def _await_reading(self) -> None:
        self._to_read += 1
        try:
            await_(self._change, lambda: self._writer is None and (self._next or not self._to_write))
            self._next = max(0, self._next - 1)
        finally:
            self._to_read -= 1
            self._next = min(self._next, self._to_read)  # a reader may have been interrupted
            self._change.notify_all()
