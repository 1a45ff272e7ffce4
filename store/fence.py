"""A fence that keeps a suspended writer from changing anything after another writer has started.

A lease is not enough, because a process may be suspended between checking it and acting on it. So every act runs under
a lock on the file `writer.lock` in the store's folder, which names the only writer that may act. A process that takes
the lease writes its own name there, under the same lock. An act is a single rename, removal or commit, so a process
that is suspended between two acts does not hold the lock.
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
"""Seconds to wait for the lock, whose holder is in the middle of an act, or suspended there."""

AGAIN_S = 0.01
"""Seconds between attempts."""


class Fence:
    """The fence of a store, for one writer; several threads may use it."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._path, self._owner = folder / NAME, owner
        self._turn = threading.Lock()
        self._acting = 0  # threads that are acting; the lock is held while there are any
        self._lock: Lock | None = None

    @contextmanager
    def closed(self) -> Iterator[Callable[[], None]]:
        """Keep everyone from acting; yield a function that names this writer as the one that may act.

        Raises:
            StoreBusy: another process is in the middle of an act and does not finish it.
        """
        lock = self._taken()
        try:
            yield lambda: lock.write(self._owner)
        finally:
            lock.release()

    @unbroken
    def act(self, holds: Callable[[], bool]) -> Iterator[None]:
        """Allow one act.

        Args:
            holds: returns whether this writer has the lease; called only if the file names another writer.

        Raises:
            LeaseLost: this writer does not have the lease.
            StoreBusy: as for `closed`.
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
        """Clear the name, if it is this writer's."""
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
            if note_in(self._path) != self._owner:  # the other may have died before it took the lease
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
                    f"{self._path} has been locked for {BUSY_S:g} s by a process that is changing the store; the last "
                    f"writer was {shown(note_in(self._path))}; if it is suspended, resume it or end it"
                )
            time.sleep(AGAIN_S)
            safe_point()
        return lock


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Keep everyone from acting while the catalog, which contains the lease, is replaced.

    An earlier writer must check the new catalog before its next act, and finds that it has lost the lease.

    Raises:
        StoreBusy: a process of this host writes to the store.
    """
    fence = Fence(folder, "")
    with fence.closed() as name_nobody:
        if (owner := named(folder)) and is_alive(owner):
            raise StoreBusy(f"the store is being written by {shown(owner)}; wait for it or stop it")
        name_nobody()
        yield


def named(folder: Path) -> str | None:
    """Return the writer that may act; None if there is none."""
    return note_in(folder / NAME) or None
