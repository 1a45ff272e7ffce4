"""A catalog in a SQLite file: its engine and its errors."""

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
"""Parts of the engine's messages about damaged files."""

BUSY_S = 60.0
"""Seconds to wait for another connection's transaction, or for a backup that has locked the file."""


def file_of(url: sa.URL) -> Path:
    """Return the file that a URL names.

    Raises:
        InputError: it names no file.
        StoreError: its path cannot be reached.
    """
    if not url.database or url.database == ":memory:":
        raise InputError("catalog: expected the URL of a file, such as sqlite:///folder/catalog.sqlite")
    return files.reachable(Path(url.database))


def engine(url: sa.URL, *, read_only: bool) -> Engine:
    """Return an engine for the file that keeps no connections and, unless `read_only`, creates the file."""
    path = file_of(url)

    def connect() -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode={_mode(path) if read_only else 'rwc'}"
        # isolation_level None: SQLAlchemy begins all transactions (below), including those with DDL
        return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)

    created = sa.create_engine(url, creator=connect, poolclass=NullPool)

    @event.listens_for(created, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(created, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options()["writing"]
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")  # a writer waits here, not later

    return created


def _mode(path: Path) -> str:
    """Return `ro`, and `immutable` for a file without a log in a read-only folder.

    Otherwise a reader of a database in WAL mode would try to create the index of the log.
    """
    still = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return "ro&immutable=1" if still else "ro"


def flaw(connection: sqlite3.Connection) -> str | None:
    """Return the first error that the engine finds in the whole file; None if there is none."""
    try:
        wrong = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)") if row[0] != "ok"]
        loose = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        if not any(words in str(error) for words in DAMAGED):
            raise
        return str(error)
    except UnicodeDecodeError as error:  # the name of a table
        return str(error)
    missing = (f"a row of {table} refers to a missing row of {other}" for table, _, other, _ in loose)
    return next(iter([*wrong, *missing]), None)


def translated(error: DBAPIError, where: str) -> StoreError:
    """Return the error with its remedy."""
    return translated_text(str(error.orig), where)


def translated_text(text: str, where: str) -> StoreError:
    """Return the error with its remedy, given the message of the engine."""
    where = f"{where}: {text}"
    if any(words in text for words in DAMAGED):
        return StoreDamaged(
            f"{where}; restore it from a backup, or run circuitstore rebuild, "
            "which creates a new one from the archive and from the rows of this one that can still be read"
        )
    if "locked" in text:
        return StoreBusy(f"{where}; another program has locked it for {BUSY_S:g} s; try again when that has ended")
    if "full" in text or "disk I/O" in text:
        return StoreError(
            f"{where}; make room on the disk, then run the same command again: it resumes where it stopped"
        )
    if "readonly" in text or "unable to open" in text:
        return StoreError(
            f"{where}; it cannot be written; change the permissions of file and folder, or choose another"
        )
    return StoreError(f"{where}; check that the file exists and can be read")
