"""A catalog in a SQLite file: how it is opened, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ..errors import InputError, StoreBusy, StoreDamaged, StoreError
from . import files

DAMAGED = ("not a database", "malformed", "unsupported file format", "no such table", "no such column", "not decode")
"""What the engine says of a file that is not as it was written."""

BUSY_S = 60.0
"""Seconds to wait for another connection's transaction, or for a backup that holds the file."""


def file_of(url: sa.URL) -> Path:
    """The file that a URL names.

    Raises:
        InputError: it names none.
        StoreError: its path cannot be reached.
    """
    if not url.database or url.database == ":memory:":
        raise InputError("catalog: a SQLite catalog is a file, such as sqlite:///folder/catalog.sqlite")
    return files.reachable(Path(url.database))


def engine(url: sa.URL, *, read_only: bool) -> Engine:
    """Connections to the file, none of them kept; it is made unless `read_only`."""
    path = file_of(url)

    def connect() -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode={_mode(path) if read_only else 'rwc'}"
        # None: transactions begin where SQLAlchemy says (below), DDL included
        return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)

    made = sa.create_engine(url, creator=connect, poolclass=NullPool)

    @event.listens_for(made, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options()["writing"]
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")  # a writer waits here, never halfway

    return made


def _mode(path: Path) -> str:
    """`ro`; in a folder that cannot be written and where no writer has its log, as a file that never changes.

    (A reader of a database in WAL mode otherwise wants to create the log's index.)
    """
    still = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return "ro&immutable=1" if still else "ro"


def flaw(connection: sqlite3.Connection) -> str | None:
    """The first error that the engine finds in the whole file; None where it finds none."""
    try:
        wrong = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)") if row[0] != "ok"]
        loose = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        if not any(words in str(error) for words in DAMAGED):
            raise
        return str(error)
    return next(iter([*wrong, *(f"a row of {table} refers to none of {other}" for table, _, other, _ in loose)]), None)


def translated(error: DBAPIError, where: str) -> StoreError:
    """What went wrong, in words, with the remedy."""
    return translated_text(str(error.orig), where)


def translated_text(text: str, where: str) -> StoreError:
    """The same, given what the engine says."""
    where = f"{where}: {text}"
    if any(words in text for words in DAMAGED):
        return StoreDamaged(
            f"{where}; put it back from a backup, or run: circuitstore rebuild, "
            "which makes a new one from the archive and what can still be read of this one"
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
    return StoreError(f"{where}; check that the file is there and can be read")
