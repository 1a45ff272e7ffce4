"""What keeps a writer that was suspended from changing anything after another one has begun: a fence.

A lease alone does not: between looking at it and the act that it allows, a process may sleep for an hour. So an act
takes effect under a lock on the file `writer.lock` of the store's folder, which names the one writer that may act; and
whoever takes the lease puts its own name there, under the same lock. An act is a single rename, removal or commit, so
that nobody who sleeps between two acts holds the lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreBusy
from .faults import fault
from .interrupts import holding, safe_point, unbroken
from .lease import LeaseLost, is_alive, shown
from .locks import Lock, note_in

NAME = "writer.lock"

BUSY_S = 60.0
"""Seconds to wait for the lock: who holds it is in the middle of an act, or was suspended there."""

AGAIN_S = 0.01
"""Seconds between tries."""


class Fence:
    """The fence of one store as one writer meets it; used from several threads."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._path, self._owner = folder / NAME, owner
        self._turn = threading.Lock()
        self._acting = 0  # threads of ours that act; the lock is held meanwhile
        self._lock: Lock | None = None

    @contextmanager
    def closed(self) -> Iterator[Callable[[], None]]:
        """While nobody acts; what it gives names our writer as the one that may act.

        Raises:
            StoreBusy: another process is in the middle of an act, and does not end it.
        """
        lock = self._taken()
        try:
            yield lambda: lock.write(self._owner)
        finally:
            lock.release()

    @unbroken
    def act(self, holds: Callable[[], bool]) -> Iterator[None]:
        """For one act. `holds` tells whether the lease is ours, and is asked only where the file names another.

        Raises:
            LeaseLost: it is not.
            StoreBusy: as `closed`.
        """
        with holding(self._turn):
            if not self._acting:
                self._lock = self._admitted(holds)
            self._acting += 1
        try:
            yield
        finally:
            with holding(self._turn):
                self._acting -= 1
                if not self._acting and self._lock is not None:
                    self._lock.release()
                    self._lock = None

    def leave(self) -> None:
        """Name nobody, if our writer is named."""
        lock = self._taken()
        try:
            if note_in(self._path) == self._owner:
                lock.write("")
        finally:
            lock.release()
        fault("fence.leave.after")

    def _admitted(self, holds: Callable[[], bool]) -> Lock:
        lock = self._taken()
        try:
            if note_in(self._path) != self._owner:  # whoever was about to take the lease may have died before it did
                if not holds():
                    raise LeaseLost.to(note_in(self._path) or None)
                lock.write(self._owner)
        except BaseException:
            lock.release()
            raise
        return lock

    def _taken(self) -> Lock:
        end = time.monotonic() + BUSY_S
        while not (lock := Lock.take(self._path)):
            if time.monotonic() > end:
                raise StoreBusy(
                    f"{self._path} has been locked for {BUSY_S:g} s by a process that is changing the store, the last "
                    f"that began being {shown(note_in(self._path))}; if that is suspended, resume it or end it"
                )
            time.sleep(AGAIN_S)
            safe_point()
        return lock


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """While nobody acts, and no writer is known to be alive: for replacing the catalog that has the lease.

    Whoever wrote before must then look at the new catalog before the next act, and finds that the lease is lost.

    Raises:
        StoreBusy: a process of this host writes.
    """
    fence = Fence(folder, "")
    with fence.closed() as name_nobody:
        if (owner := named(folder)) and is_alive(owner):
            raise StoreBusy(f"the store is being written by {shown(owner)}; wait for it, or end it")
        name_nobody()
        yield


def named(folder: Path) -> str | None:
    """Who was named last as the writer that may act, and has not left since; None for nobody."""
    return note_in(folder / NAME) or None
