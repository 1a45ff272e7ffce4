"""The catalog: a SQL database of what was asked, done, failed and why; opened read-only or to write.

A file of SQLite, or a database on a PostgreSQL server, by URL. One transaction a call of `reading` or `writing`,
so that every method here is all or nothing.
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
"""Seconds to wait for a server that answered before, and may be starting again."""

AGAIN_S = 0.5
"""Seconds between looks whether it does."""

_ALEMBIC = threading.Lock()  # it keeps what it works on in globals, so that stores made at once would mix

_MIGRATIONS = Path(__file__).parent.parent / "migrations" / "catalog"
_KINDS = {"sqlite": sqlite, "postgresql": postgres}


def parsed(url: str | sa.URL) -> sa.URL:
    """A catalog's URL, as a value that shows no password.

    Raises:
        InputError: it is none; says no more of it than its beginning, since the rest may hold a password.
    """
    expected = "expected sqlite:///folder/catalog.sqlite or postgresql+psycopg://user@host/name"
    try:
        made = sa.make_url(url)
    except (ArgumentError, ValueError):
        begins = f"a text that begins with {str(url).split(':')[0][:20]!r}"
        raise InputError(
            f"catalog: {expected}, got {begins}, which is no URL; in it, / and @ of a password are written %2F and %40"
        ) from None
    if made.drivername == "postgresql":
        made = made.set(drivername=postgres.DRIVER)
    if made.drivername not in ("sqlite", "sqlite+pysqlite", postgres.DRIVER):
        raise InputError(f"catalog: {expected}, got a URL of {made.drivername}://")
    if made.drivername.startswith("sqlite") and "?" in str(url) and not isinstance(url, sa.URL):
        raise InputError("catalog: the URL of a file has no question mark; write %3F for one in the file's name")
    for name in made.query:
        if "password" in name.lower():
            raise InputError(
                f"catalog: {name} stands after the question mark of the URL, where others would see it; "
                "give the password in the environment variable PGPASSWORD or in the file ~/.pgpass"
            )
    return made


class Catalog:
    """One open catalog.

    Connections are opened as they are needed and not kept, so a fork is harmless and nothing stays open.

    Attributes:
        url: where it is, without the password.
        read_only: whether writing is refused, by the database itself.
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
        """A consistent view.

        Raises:
            StoreError: the database is missing, busy, or refuses; `StoreDamaged` when it is none;
                `StoreUnreachable` when its server does not answer.
        """
        with self._said(), self._begun(writing=False) as connection:
            yield connection

    @unbroken
    def writing(self) -> Iterator[Connection]:
        """A transaction, committed durably at the end, undone on an error; one at a time.

        Raises:
            StoreError: as for `reading`, or there is no room.
        """
        with self._said(), self._begun(writing=True) as connection:
            yield connection
            fault("catalog.commit.before")
            connection.commit()
        fault("catalog.commit.after")

    def _begun(self, *, writing: bool) -> Connection:
        """A connection at the start of a transaction, to be closed; waits for a server that is starting again."""
        end = time.monotonic() + (RETURN_S if self._reached else 0.0)
        while True:
            try:
                with self._said():
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
    def _said(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:  # what is entered refers to what was looked up in the same transaction
            raise StoreDamaged(
                f"catalog {self.url}: its rows contradict each other ({error.orig}); run: circuitstore rebuild, "
                "which makes them again from the archive"
            ) from error
        except DBAPIError as error:
            raise self._kind.translated(error, f"catalog {self.url}") from error

    def version(self) -> str | None:
        """The revision of its tables; None for an empty database."""
        with self.reading() as connection:
            present = sa.inspect(connection).get_table_names()
            if not present:
                return None
            if "alembic_version" not in present or "store" not in present:
                raise StoreError(
                    f"catalog {self.url}: expected a catalog of circuitstore or an empty database, found tables of "
                    f"something else ({', '.join(sorted(present)[:5])}); it was left alone; choose another"
                )
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def check_version(self) -> None:
        """Refuse tables of another version.

        Raises:
            StoreVersion: names both versions and the command that mends it.
        """
        found = self.version()
        if found == tables.SCHEMA:
            return
        if found is None:
            raise StoreError(
                f"catalog {self.url} is empty: the making of the store was interrupted; "
                "make it with: circuitstore index SPEC.toml (or circuitstore demo)"
            )
        what = f"catalog {self.url} has schema {found}, this version of circuitstore reads {tables.SCHEMA}"
        if found > tables.SCHEMA:
            raise StoreVersion(f"{what}: it was written by a newer version; update circuitstore")
        raise StoreVersion(f"{what}; bring it up to date with: circuitstore migrate")

    def upgrade(self, writing: Callable[[], AbstractContextManager[Connection]] | None = None) -> str | None:
        """Create the tables, or bring older ones up to date, in one transaction; returns the revision found.

        Args:
            writing: gives that transaction, for a writer that holds a lease in older tables.

        Raises:
            StoreVersion: the tables are of a newer version.
        """
        found = self.version()
        if found is not None and found >= tables.SCHEMA:
            self.check_version()
            return found
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        with (writing or self.writing)() as connection:
            config.attributes["connection"] = connection
            with _ALEMBIC:
                command.upgrade(config, tables.SCHEMA)
        return found

    def flaw(self) -> str | None:
        """What the engine finds wrong with the file; None where it finds nothing, and for a server."""
        if self.file is None:
            return None
        with self.reading() as connection:
            try:
                return sqlite.flaw(cast(sqlite3.Connection, connection.connection.driver_connection))
            except sqlite3.Error as error:
                raise sqlite.translated_text(str(error), f"catalog {self.url}") from error

    def check(self) -> None:
        """Refuse a damaged file, whose lists may contradict each other.

        Raises:
            StoreDamaged: names what is wrong and the remedy.
        """
        if reason := self.flaw():
            raise StoreDamaged(
                f"catalog {self.url} is damaged ({reason}); put it back from a backup, or run: circuitstore rebuild, "
                "which makes a new one from the archive and what can still be read of this one"
            )

    def store_id(self) -> str | None:
        with self.reading() as connection:
            return connection.execute(select(tables.store.c.id)).scalar()

    def lists_anything(self) -> bool:
        """Whether it says that something is in the archive."""
        with self.reading() as connection:
            counts = [select(kind.table.c.id).limit(1) for kind in KINDS.values()]
            return any(connection.execute(c).first() for c in counts)

    def close(self) -> None:
        self._engine.dispose()
