"""Archive and catalog as the writer of a store uses them: writable, under its lease, with notices for the user."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from ..errors import StoreDamaged, StoreError
from . import answers
from .archive import Archive
from .catalog import Catalog
from .kinds import KINDS
from .lease_holder import LeaseHolder

log = logging.getLogger("circuitstore")

RECOMPUTED = "the next index run computes it again; store your own results again yourself"


class Parts:
    """The parts that a writer shares with its `Projection`, upkeep and rebuilding.

    Attributes:
        store_id: id of the store.
        archive: its files.
        catalog: its SQL database.
        lease_holder: the writer's lease.
        lock: a thread holds it while it changes several parts.
    """

    def __init__(self, store_id: str, archive: Archive, catalog: Catalog, lease_holder: LeaseHolder) -> None:
        self.store_id, self.archive, self.catalog, self.lease_holder = store_id, archive, catalog, lease_holder
        self.lock = threading.RLock()
        self._notices: list[str] = []
        self._pid = os.getpid()

    @property
    def in_own_process(self) -> bool:
        """Whether this process took the lease, rather than a process that it was forked from."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Raise an error if this process may not write.

        Raises:
            StoreError: the process is a fork of the writer's, or the writer is closed or has failed.
        """
        if not self.in_own_process:
            raise StoreError(
                f"this writer belongs to process {self._pid}; a forked process ({os.getpid()}) cannot use it: "
                "let the first process write, and pass results to it"
            )
        self.lease_holder.check()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a transaction of the catalog, after checking in it that this writer has the lease."""
        self.check()
        with self.lease_holder.writing() as connection:
            yield connection

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about repairs and about files that were reused or set aside."""
        return tuple(self._notices)

    def notify(self, notice: str) -> None:
        """Add a notice, and log it."""
        self._notices.append(notice)
        log.warning("%s", notice)

    def set_aside(self, kind: str, id: str, error: StoreDamaged) -> None:
        """Rename a damaged file, and delete its value from the catalog, so that it is computed again.

        For circuits, which must be deleted from the graph first, use `Projection.set_aside`.
        """
        path = self.archive.set_aside(kind, id)
        with self.writing() as connection:
            answers.forget(connection, KINDS[kind], [id])
        where = f"; it was set aside as {path}" if path else ""
        self.notify(f"{error}{where}; {RECOMPUTED}")
