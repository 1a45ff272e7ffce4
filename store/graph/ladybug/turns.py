"""Threads of one process that share a database and its file: who may go on, who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

from ...interrupts import await_, unbroken
from ..refusals import check_usable
from .engine import Engine
from .snapshot import Signature, Snapshot

AT_ONCE = 8
"""Queries that run at once, each in a process of its own; the next one waits for one of them."""

IDLE = 2
"""Processes that are kept for the next queries."""

T = TypeVar("T")


class Turns:
    """Lets one thread write at a time, and any number read while none writes.

    A thread that waits to write goes before those that come to read. The one that writes may read, and write again.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._writer: int | None = None  # the thread that writes
        self._depth = 0  # how often it has begun to
        self._readers = self._waiting = 0  # threads that read, and that wait to write

    @unbroken
    def writing(self) -> Iterator[None]:
        """A turn to write."""
        me = threading.get_ident()
        with self._change:
            if self._writer != me:
                self._waiting += 1
                try:
                    await_(self._change, lambda: self._writer is None and not self._readers)
                finally:
                    self._waiting -= 1
                    self._change.notify_all()
                self._writer = me
            self._depth += 1
        try:
            yield
        finally:
            with self._change:
                self._depth -= 1
                if not self._depth:
                    self._writer = None
                    self._change.notify_all()

    @unbroken
    def reading(self) -> Iterator[None]:
        """A turn to read."""
        with self._change:
            writes = self._writer == threading.get_ident()
            if not writes:
                await_(self._change, lambda: self._writer is None and not self._waiting)
                self._readers += 1
        try:
            yield
        finally:
            if not writes:
                with self._change:
                    self._readers -= 1
                    self._change.notify_all()


class Snapshots:
    """A file opened for reading once for each query that runs, so that none waits for another."""

    def __init__(self, path: Path, url: str, opened_by: int) -> None:
        self._path, self._url, self._pid = path, url, opened_by
        self._change = threading.Condition()
        self._idle: list[Snapshot] = []
        self._in_use = 0
        self._is_open = True
        self._intact: set[tuple[Signature, str]] = set()

    def read(self, query: Callable[[Engine], T], calm: Callable[[], AbstractContextManager[object]] = nullcontext) -> T:
        """What `query` returns; see `Snapshot.read`.

        Raises:
            StoreError: they are closed, or were opened by another process.
        """
        with self._one() as snapshot:
            return snapshot.read(query, calm)

    @unbroken
    def _one(self) -> Iterator[Snapshot]:
        check_usable(self._url, self._pid, True)  # a fork may have inherited the lock, held
        with self._change:
            await_(self._change, lambda: self._in_use < AT_ONCE or not self._is_open)
            check_usable(self._url, self._pid, self._is_open)
            self._in_use += 1
            snapshot = self._idle.pop() if self._idle else Snapshot(self._path, self._intact)
        try:
            yield snapshot
        finally:
            with self._change:
                self._in_use -= 1
                is_kept = self._is_open and len(self._idle) < IDLE
                if is_kept:
                    self._idle.append(snapshot)
                self._change.notify_all()
            if not is_kept:
                snapshot.close()

    def close(self) -> None:
        """Refuse further queries, wait for those that run, and end all processes."""
        with self._change:
            self._is_open = False
            self._change.notify_all()
            while self._in_use:
                self._change.wait()
            for snapshot in self._idle:
                snapshot.close()
            self._idle.clear()
