"""The catalog: a SQL database of what was asked, done, failed and why; opened read-only or to write.

Any engine of SQLAlchemy serves by URL; SQLite is the default. One transaction a call of `reading` or
`writing`, so that every method here is all or nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from ..errors import InputError, StoreBusy, StoreDamaged, StoreError, StoreVersion, optional
from . import tables
from .faults import fault

BUSY_S = 60.0
"""Seconds to wait for another connection's transaction, or for a backup that holds the file."""

_MIGRATIONS = Path(__file__).parent.parent / "migrations" / "catalog"


class Catalog:
    """One open catalog.

    Connections are opened as they are needed and not kept, so a fork is harmless and nothing stays open.

    Attributes:
        url: where it is, without the password.
        read_only: whether writing is refused, by the database itself.
    """

    def __init__(self, url: str | sa.URL, *, read_only: bool) -> None:
        try:
            parsed = sa.make_url(url)
            self._engine = _sqlite(parsed, read_only) if parsed.get_backend_name() == "sqlite" else _server(parsed)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise InputError(
                f"catalog: expected a URL such as sqlite:///folder/catalog.sqlite or "
                f"postgresql+psycopg://user@host/name, got one that cannot be used: {error}"
            ) from error
        self.url = parsed.render_as_string(hide_password=True)
        self.read_only = read_only

    @property
    def file(self) -> Path | None:
        """The file of a SQLite catalog."""
        return _file(self._engine.url)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view.

        Raises:
            StoreError: the database is missing, busy, or refuses; `StoreDamaged` when it is none.
        """
        with self._said(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction, committed durably at the end, undone on an error.

        Raises:
            StoreError: as for `reading`, or there is no room.
        """
        with self._said(), self._engine.begin() as connection:
            yield connection
            fault("catalog.commit.before")
        fault("catalog.commit.after")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:  # ours to mend, not the user's
            raise
        except DBAPIError as error:
            raise _translated(error, self.url) from error

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

    def upgrade(self) -> str | None:
        """Create the tables, or bring older ones up to date, in one transaction; returns the revision found.

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
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, tables.SCHEMA)
        return found

    def store_id(self) -> str | None:
        with self.reading() as connection:
            return connection.execute(select(tables.store.c.id)).scalar()

    def lists_anything(self) -> bool:
        """Whether it says that something is in the archive."""
        with self.reading() as connection:
            counts = [select(t.c.id).limit(1) for t in (tables.discoveries, tables.circuits)]
            return any(connection.execute(c).first() for c in counts)

    def close(self) -> None:
        self._engine.dispose()


def _file(url: sa.URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise InputError("catalog: a SQLite catalog is a file, such as sqlite:///folder/catalog.sqlite")
    return Path(url.database)


def _sqlite(url: sa.URL, read_only: bool) -> Engine:
    path = _file(url)
    assert path is not None

    def connect() -> sqlite3.Connection:
        uri = f"file:{quote(str(path.absolute()))}?mode={_mode(path) if read_only else 'rwc'}"
        # None: transactions begin where SQLAlchemy says (below), DDL included
        return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine(url, creator=connect, poolclass=NullPool)
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"  # a writer waits at its start, never halfway

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _mode(path: Path) -> str:
    """`ro`; in a folder that cannot be written and where no writer has its log, as a file that never changes.

    (A reader of a database in WAL mode otherwise wants to create the log's index.)
    """
    still = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return "ro&immutable=1" if still else "ro"


def _server(url: sa.URL) -> Engine:
    if url.get_driver_name() == "psycopg":
        optional("psycopg", "postgres")
    return sa.create_engine(url, poolclass=NullPool)


def _translated(error: DBAPIError, url: str) -> StoreError:
    """What went wrong with the database, in words, with the remedy."""
    text = str(error.orig)
    where = f"catalog {url}: {text}"
    if "not a database" in text or "malformed" in text:
        return StoreDamaged(
            f"{where}; put it back from a backup, or move it away and run: circuitstore rebuild, "
            "which makes a new one from the archive"
        )
    if "locked" in text:
        return StoreBusy(f"{where}; another program has had it locked for {BUSY_S:g} s; try again when that has ended")
    if "full" in text or "disk I/O" in text:
        return StoreError(
            f"{where}; make room on the disk, then run the same command again: it goes on where it stopped"
        )
    if "readonly" in text or "unable to open" in text:
        return StoreError(
            f"{where}; it cannot be written; change the permissions of file and folder, or choose another"
        )
    return StoreError(f"{where}; check that the database is there and can be reached")
