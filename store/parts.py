"""Archive and catalog as the one writer of a store has them: to write, under its lease, with notices for the user."""

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


class Parts:
    """What a writer shares with those who work for it: the graph's `Projection`, upkeep, rebuilding.

    Attributes:
        store_id: id of the store.
        archive: its files.
        catalog: its SQL database.
        lease_holder: holds the lease.
        lock: held by a thread while it changes several parts.
    """

    def __init__(self, store_id: str, archive: Archive, catalog: Catalog, lease_holder: LeaseHolder) -> None:
        self.store_id, self.archive, self.catalog, self.lease_holder = store_id, archive, catalog, lease_holder
        self.lock = threading.RLock()
        self._notices: list[str] = []
        self._pid = os.getpid()

    @property
    def are_ours(self) -> bool:
        """Whether this process took the lease, and is no fork of the one that did."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Return if this process may write: the lease is its own, and nothing has ended the writer.

        Raises:
            StoreError: it may not.
        """
        if not self.are_ours:
            raise StoreError(
                f"this writer belongs to process {self._pid}; a forked process ({os.getpid()}) cannot use it: "
                "let the first process write, and give it results instead"
            )
        self.lease_holder.check()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the catalog in which the lease is known to be ours."""
        self.check()
        with self.lease_holder.writing() as connection:
            yield connection

    @property
    def notices(self) -> tuple[str, ...]:
        """What was mended, taken over, or put aside, in words for the user."""
        return tuple(self._notices)

    def say(self, notice: str) -> None:
        """Add a notice, and log it."""
        self._notices.append(notice)
        log.warning("%s", notice)

    def set_aside(self, kind: str, id: str, error: StoreDamaged) -> None:
        """Put a damaged file away, and delete it from the catalog, so that it is computed again.

        A circuit that the graph may show goes there first: `Projection.set_aside`.
        """
        path = self.archive.set_aside(kind, id)
        with self.writing() as connection:
            answers.forget(connection, KINDS[kind], [id])
        where = f"; it was set aside as {path}" if path else ""
        self.say(f"{error}{where}; the next index run asks its item again; a result of your own has to be stored again")
