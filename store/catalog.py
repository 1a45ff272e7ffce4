"""The catalog: a SQL database of runs, items and stored values, opened read-only or for writing.

Its URL names a SQLite file or a database on a PostgreSQL server. Each call of `reading` or `writing` is one
transaction, so every method is atomic.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from ..errors import InputError, StoreDamaged, StoreError, StoreUnreachable, StoreVersion
from . import postgres, sqlite, tables
from .faults import fault
from .interrupts import safe_point, unbroken
from .kinds import KINDS

log = logging.getLogger("circuitstore")

RETURN_S = 60.0
"""Seconds to wait for a server that answered before and may be restarting."""

AGAIN_S = 0.5
"""Seconds between attempts to connect to it."""

_ALEMBIC = threading.Lock()  # Alembic keeps its state in globals, so only one thread may use it

_MIGRATIONS = Path(__file__).parent.parent / "migrations" / "catalog"
_KINDS = {"sqlite": sqlite, "postgresql": postgres}


def parsed(url: str | sa.URL) -> sa.URL:
    """Parse a catalog's URL into an object whose `repr` hides the password.

    Raises:
        InputError: the URL is not valid. The message has only its beginning, since the rest may contain a password.
    """
    expected = "expected sqlite:///folder/catalog.sqlite or postgresql+psycopg://user@host/name"
    try:
        parsed_url = sa.make_url(url)
    except (ArgumentError, ValueError):
        begins = f"a text that begins with {str(url).split(':')[0][:20]!r}"
        raise InputError(
            f"catalog: {expected}, got {begins}, which is not a URL; write / and @ of a password as %2F and %40"
        ) from None
    if parsed_url.drivername == "postgresql":
        parsed_url = parsed_url.set(drivername=postgres.DRIVER)
    if parsed_url.drivername not in ("sqlite", "sqlite+pysqlite", postgres.DRIVER):
        raise InputError(f"catalog: {expected}, got a URL of {parsed_url.drivername}://")
    if parsed_url.drivername.startswith("sqlite") and "?" in str(url) and not isinstance(url, sa.URL):
        raise InputError("catalog: the URL of a file has no question mark; write %3F for one in the name")
    for name in parsed_url.query:
        if "password" in name.lower():
            raise InputError(
                f"catalog: {name} is after the question mark of the URL, where others could see it; "
                "give the password in the environment variable PGPASSWORD or in the file ~/.pgpass"
            )
    return parsed_url


class Catalog:
    """One open catalog.

    Connections are opened when needed and not kept, so a fork does no harm and nothing stays open.

    Attributes:
        url: its URL, without the password.
        read_only: whether the database rejects writes.
    """

    def __init__(self, url: str | sa.URL, *, read_only: bool) -> None:
        place = parsed(url)
        self._kind = _KINDS[place.get_backend_name()]
        self._engine = self._kind.engine(place, read_only=read_only)
        self._reached = False
        self.url = place.render_as_string(hide_password=True)
        self.read_only = read_only

    @property
    def file(self) -> Path | None:
        """The file of a SQLite catalog."""
        return sqlite.file_of(self._engine.url) if self._kind is sqlite else None

    @unbroken
    def reading(self) -> Iterator[Connection]:
        """Yield a connection with a consistent view.

        Raises:
            StoreError: the database is missing or busy, or reports an error.
            StoreDamaged: it is not a database.
            StoreUnreachable: its server does not answer.
        """
        with self._translated(), self._begun(writing=False) as connection:
            yield connection

    @unbroken
    def writing(self) -> Iterator[Connection]:
        """Yield a transaction, committed durably at the end and rolled back on an error; one at a time.

        Raises:
            StoreError: as for `reading`, or the disk is full.
        """
        with self._translated(), self._begun(writing=True) as connection:
            yield connection
            fault("catalog.commit.before")
            connection.commit()
        fault("catalog.commit.after")

    def _begun(self, *, writing: bool) -> Connection:
        """Return a connection with a transaction, which the caller closes; wait for a server that is restarting."""
        end = time.monotonic() + (RETURN_S if self._reached else 0.0)
        while True:
            try:
                with self._translated():
                    connection = self._engine.connect().execution_options(writing=writing)
                    try:
                        connection.begin()
                    except BaseException:
                        connection.close()
                        raise
            except StoreUnreachable as error:
                if time.monotonic() > end:
                    raise
                log.info("waiting for the catalog: %s", error)
                time.sleep(AGAIN_S)
                safe_point()
            else:
                self._reached = True
                return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:  # new rows refer only to rows that the same transaction has read
            raise StoreDamaged(
                f"catalog {self.url}: its rows contradict each other ({error.orig}); run circuitstore rebuild, "
                "which writes them again from the archive"
            ) from error
        except DBAPIError as error:
            raise self._kind.translated(error, f"catalog {self.url}") from error
        except UnicodeDecodeError as error:  # SQLite's driver, for the name of a table
            raise StoreDamaged(
                f"catalog {self.url} is damaged ({error}); restore it from a backup, or run circuitstore rebuild, "
                "which creates a new one from the archive and from the rows of this one that can still be read"
            ) from error

    def version(self) -> str | None:
        """Return the revision of its tables; None for an empty database."""
        with self.reading() as connection:
            return self._version(connection)

    def _version(self, connection: Connection) -> str | None:
        present = sa.inspect(connection).get_table_names()
        if not present:
            return None
        if "alembic_version" not in present or "store" not in present:
            raise StoreError(
                f"catalog {self.url}: expected a catalog of circuitstore or an empty database, found other tables "
                f"({', '.join(sorted(present)[:5])}); it was not changed; choose another database"
            )
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def check_version(self) -> None:
        """Check that the tables have the current version.

        Raises:
            StoreVersion: they have another one; the message names both and the remedy.
        """
        found = self.version()
        if found == tables.SCHEMA:
            return
        if found is None:
            raise StoreError(
                f"catalog {self.url} is empty: the creation of the store was interrupted; "
                "create it with: circuitstore index SPEC.toml (or circuitstore demo)"
            )
        what = f"catalog {self.url} has schema {found}, this version of circuitstore reads {tables.SCHEMA}"
        if found > tables.SCHEMA:
            raise StoreVersion(f"{what}: it was written by a newer version; update circuitstore")
        raise StoreVersion(f"{what}; bring it up to date with: circuitstore migrate")

    def upgrade(self, writing: Callable[[], AbstractContextManager[Connection]] | None = None) -> str | None:
        """Create the tables or migrate older ones, in one transaction; return the previous revision.

        Args:
            writing: returns that transaction, for a writer with a lease in older tables.

        Raises:
            StoreVersion: the tables have a newer version.
        """
        found = self.version()
        if found is not None and found >= tables.SCHEMA:
            self.check_version()
            return found
        with (writing or self.writing)() as connection:
            if self._version(connection) is None:  # another process may have created them since
                tables.create(connection)
            else:
                _migrate(connection)
        return found

    def flaw(self) -> str | None:
        """Return the first error that the engine finds in the file; None if there is none, and for a server."""
        if self.file is None:
            return None
        with self.reading() as connection:
            try:
                return sqlite.flaw(cast(sqlite3.Connection, connection.connection.driver_connection))
            except sqlite3.Error as error:
                raise sqlite.translated_text(str(error), f"catalog {self.url}") from error

    def check(self) -> None:
        """Check that the file is not damaged.

        Raises:
            StoreDamaged: it is; the message has the error and the remedy.
        """
        if reason := self.flaw():
            raise StoreDamaged(
                f"catalog {self.url} is damaged ({reason}); restore it from a backup, or run circuitstore rebuild, "
                "which creates a new one from the archive and from the rows of this one that can still be read"
            )

    def store_id(self) -> str | None:
        with self.reading() as connection:
            return connection.execute(select(tables.store.c.id)).scalar()

    def lists_anything(self) -> bool:
        """Return whether it lists any value of the archive."""
        with self.reading() as connection:
            counts = [select(kind.table.c.id).limit(1) for kind in KINDS.values()]
            return any(connection.execute(c).first() for c in counts)

    def close(self) -> None:
        self._engine.dispose()


def _migrate(connection: Connection) -> None:
    """Bring older tables up to date; do nothing to current ones."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, tables.SCHEMA)
