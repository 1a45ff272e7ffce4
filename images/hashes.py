"""A cache of content hashes by path, size and modification time, in the user's cache folder.

A cache that cannot be read or written only costs time: errors are logged, and a damaged file is deleted.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import platformdirs

from .files import printable

FOLDER = "CIRCUITSTORE_CACHE"
"""Environment variable: the folder of the cache, or `off`."""

BUSY_S = 5.0
"""Seconds to wait for another process that writes."""

SETTLED_NS = 2 * 10**9
"""Age of a file below which its hash is not kept: a second change might give the same size and time."""

_TABLE = """CREATE TABLE IF NOT EXISTS hashes (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, time_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, notice TEXT
) WITHOUT ROWID"""
_CHUNK = 500

log = logging.getLogger("circuitstore")


class Stamp(NamedTuple):
    """What changes when the content of a file changes."""

    path: str
    size: int
    time_ns: int

    @classmethod
    def of(cls, path: Path, within: str = "") -> Stamp:
        """Return the stamp of a file, or of a part of it. Raises OSError if there is no such file."""
        status = path.stat()
        return cls(printable(path.absolute()) + within, status.st_size, status.st_mtime_ns)


class Identity(NamedTuple):
    """The SHA-256 (hex) of an image's content, and a message for the user about the image."""

    hash: str
    notice: str | None = None


def read_hashes(stamps: Iterable[Stamp]) -> dict[Stamp, Identity]:
    """Return the known identities of files that have not changed."""
    found: dict[Stamp, Identity] = {}

    def read(connection: sqlite3.Connection) -> None:
        for chunk in _chunks(stamps):
            marks = ", ".join("?" * len(chunk))
            rows = connection.execute(f"SELECT * FROM hashes WHERE path IN ({marks})", list(chunk))
            stored = {
                Stamp(path, size, time_ns): Identity(sha256, notice) for path, size, time_ns, sha256, notice in rows
            }
            found.update({stamp: stored[stamp] for stamp in chunk.values() if stamp in stored})

    _transact(read, create=False)
    return found


def write_hashes(identities: Mapping[Stamp, Identity]) -> None:
    """Store identities of files; those of files that were written in the last seconds are left out."""
    latest = time.time_ns() - SETTLED_NS
    rows = [(*stamp, *identity) for stamp, identity in identities.items() if stamp.time_ns < latest]
    if rows:
        _transact(lambda c: c.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", rows), create=True)


def forget_hash(stamp: Stamp) -> None:
    """Remove the identity of a file whose content has changed."""
    _transact(lambda c: c.execute("DELETE FROM hashes WHERE path = ?", (stamp.path,)), create=False)


def cache_file() -> Path | None:
    """Return the file of the cache; None if there is to be none."""
    chosen = os.environ.get(FOLDER)
    if chosen == "off":
        return None
    folder = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("circuitstore", appauthor=False)
    return folder / "hashes-1.sqlite"


def _transact(work: Callable[[sqlite3.Connection], object], *, create: bool) -> None:
    """Do something in one transaction, unless there is no cache; errors of the cache end it."""
    file = cache_file()
    if file is None or not (create or file.exists()):
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=BUSY_S)) as connection, connection:
            connection.execute(_TABLE)
            work(connection)
    except (sqlite3.OperationalError, OSError) as error:
        log.warning("%s: the cache of content hashes is not used: %s", file, error)
    except sqlite3.DatabaseError as error:
        log.warning("%s: the cache of content hashes is damaged and is deleted: %s", file, error)
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _chunks(stamps: Iterable[Stamp]) -> Iterator[dict[str, Stamp]]:
    left = iter(stamps)
    while chunk := {stamp.path: stamp for stamp in islice(left, _CHUNK)}:
        yield chunk
