"""Opening a LadybugDB file for writing: one process at a time, damage set aside and said.

What is known of the engine and shapes this module. Its own lock on the file is lost as soon as the process
closes any other handle to it, so a lock file of ours stands beside it. A write-ahead log cut short by a
crash of the machine may refuse to replay; its valid part is opened after a copy of everything was kept.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import re
import shutil
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import NamedTuple

import ladybug

from ....errors import StoreBusy, StoreError, StoreForeign, StoreVersion
from ...faults import fault
from ...files import explain
from ...lease import Permit
from ...locks import Lock, note_in
from .seal import is_intact

MAX_DB_SIZE = 1 << 36  # the default maps 8 TiB, which containers refuse
BUFFER_POOL_SIZE = 1 << 30
OUR_SUFFIX = ".lbdb"
DOUBTED = ".doubted"
HOLDER = "process "
"""How the note in the lock file begins while a process writes."""
NOT_THE_ENGINES = (".lock", "-set-aside", DOUBTED)
NO_ROOM = ("No space left", "Disk quota exceeded", "Cannot write to file")
"""How the engine says that the disk is full."""
LITTLE_ROOM = 1 << 20
"""Bytes; with fewer to spare, whatever it says is put down to that: it fails to read what it could not write."""

_open: weakref.WeakSet[ladybug.Database] = weakref.WeakSet()


def _disown() -> None:
    """In a forked child: give up what belongs to the parent.

    The engine's threads are not there, and letting go of a database would wait for them for ever, so it is kept.
    """
    for database in _open:
        keep(database)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_disown)


def keep(database: ladybug.Database) -> None:
    """Never let go of a database, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(database))


def engine_files(path: Path) -> list[Path]:
    """The database file and what the engine keeps beside it (logs, shadow pages), those that exist."""
    return [p for p in sorted(path.parent.glob(f"{escape(path.name)}*")) if _is_of(path, p.name)]


def _is_of(path: Path, name: str) -> bool:
    if name == path.name:
        return True
    suffix = name.removeprefix(path.name)  # of the file that is asked about, which may be a `.new` one
    return suffix.startswith(".") and not suffix.startswith(".new") and not suffix.endswith(NOT_THE_ENGINES)


def lock_for_writing(path: Path) -> Lock:
    """The right to write a file, for one handle of one process.

    Raises:
        StoreBusy: another handle, in this process or another, has it.
        StoreError: the folder cannot be written.
    """
    beside = lock_of(path)
    for _ in range(5):  # readers take it for an instant, to see whether a writer is at work
        if lock := Lock.take(beside):
            with suppress(OSError):  # on a full disk it holds without a name
                lock.write(f"{HOLDER}{os.getpid()} on {socket.gethostname()}")
            return lock
        time.sleep(0.02)
    note = note_in(beside)  # for an instant it is the checksum that the last writer left
    raise StoreBusy(
        f"{path} is open for writing by {note if note.startswith(HOLDER) else 'another process'}; "
        "wait for it (--wait SECONDS), or end it and try again"
    )


def lock_of(path: Path) -> Path:
    """The lock file that stands beside a file."""
    return path.with_name(f"{path.name}.lock")


class Opened(NamedTuple):
    """An open database, or None where nothing usable was there; and what was done, in words for the user."""

    database: ladybug.Database | None
    notices: tuple[str, ...] = ()


def open_for_writing(path: Path, lock: Lock, permit: Permit) -> Opened:
    """Open an existing file, of which the caller holds the lock; what is done to files needs the `permit`.

    A file to which a write failed is discarded. A damaged one is copied aside, with all that lies beside it,
    and its valid part is opened; where there is none, or nobody knows which part is valid, it is made anew.

    Raises:
        StoreBusy: a program without our lock has the file open.
        StoreVersion: the file's format is of another LadybugDB.
        StoreError: not a database, and not named like one of ours, so perhaps somebody's file.
    """
    if not is_intact(path, lock.left):
        return _give_up(path, _set_aside(path, permit, move=False), "it does not match its checksum", permit)
    if _doubt(path).exists():
        fault("graph.doubted.before")
        with permit():
            discard(path)
        fault("graph.doubted.between")
        with permit():
            _doubt(path).unlink()
        fault("graph.doubted.after")
        return Opened(None, (f"an earlier write to {path} failed, as on a full disk; it is made anew",))
    if not path.exists():
        return _without_main_file(path, permit)
    try:
        return Opened(connectable(path))
    except RuntimeError as error:
        refuse_hopeless(path, error)
        reason = str(error).splitlines()[0]
    kept = _set_aside(path, permit, move=False)
    try:
        database = connectable(path, throw_on_wal_replay_failure=False)
    except RuntimeError:
        return _give_up(path, kept, reason, permit)
    return Opened(
        database,
        (f"{path} was damaged ({reason}); its valid part is in use, what it was is kept in {kept}",),
    )


@contextmanager
def kept_if_torn(database: ladybug.Database) -> Iterator[None]:
    """Keeps a database to which the engine fails to write: it would write again when let go, and end the process."""
    try:
        yield
    except RuntimeError:
        keep(database)
        raise


@contextmanager
def doubted(path: Path, database: ladybug.Database) -> Iterator[None]:
    """Marks the file as not to be trusted when the engine fails to write, so that it is made anew later.

    On a full disk the engine leaves tables without their indexes, and opens them afterwards without a word.
    """
    try:
        with kept_if_torn(database):
            yield
    except RuntimeError:
        with suppress(OSError):
            _doubt(path).touch()
        raise


def failure(path: Path, error: RuntimeError) -> StoreError:
    """What the engine says while it works, in words for the user where the disk is full."""
    if any(words in str(error) for words in NO_ROOM) or shutil.disk_usage(path.parent).free < LITTLE_ROOM:
        return StoreError(explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path))
    return StoreError(f"graph {path}: {error}")


def _doubt(path: Path) -> Path:
    return path.with_name(path.name + DOUBTED)


def connectable(path: Path, *, read_only: bool = False, throw_on_wal_replay_failure: bool = True) -> ladybug.Database:
    """A database that answers; raises RuntimeError as the engine does."""
    database = ladybug.Database(
        path,
        buffer_pool_size=BUFFER_POOL_SIZE,
        max_db_size=MAX_DB_SIZE,
        read_only=read_only,
        throw_on_wal_replay_failure=throw_on_wal_replay_failure,
    )
    _open.add(database)
    try:
        ladybug.Connection(database).close()
    except RuntimeError:
        database.close()
        raise
    return database


def refuse_hopeless(path: Path, error: RuntimeError) -> None:
    """Raise what no mending helps against; return where the file may be damaged, or busy for a moment."""
    text = str(error)
    if any(words in text for words in NO_ROOM):
        raise failure(path, error) from error
    if path.is_dir():
        raise StoreError(f"the graph {path} is a folder; give the name of a file in it") from error
    if "Could not set lock on file" in text:
        pid = re.search(r"PID (\d+)", text)
        who = f"process {pid[1]}" if pid else "another program"
        raise StoreBusy(f"{path} is open for writing by {who}; end it and try again") from error
    if versions := re.search(r"file version: (\d+), Current build storage version: (\d+)", text):
        raise StoreVersion(
            f"{path} has LadybugDB format {versions[1]}, ladybug {ladybug.__version__} reads format {versions[2]}; use "
            "the circuitstore that wrote it, or make the graph anew from the archive: circuitstore rebuild"
        ) from error
    if "not a valid" in text and path.suffix != OUR_SUFFIX and path.stat().st_size:
        raise StoreForeign(
            f"{path} is not a LadybugDB file and is left as it is; give another path for the graph"
        ) from error


def discard(path: Path, *, but_main: bool = False) -> None:
    """Delete what the engine keeps beside the file, then the file itself."""
    for file in reversed(engine_files(path)):
        if file != path or not but_main:
            file.unlink()


def set_aside(path: Path, permit: Permit) -> Path:
    """Move the file, and all that lies beside it, into a folder of its own; gives back the folder."""
    return _set_aside(path, permit, move=True)


def _without_main_file(path: Path, permit: Permit) -> Opened:
    if not engine_files(path):
        return Opened(None)
    kept = _set_aside(path, permit, move=True)
    return Opened(None, (f"{path} is gone, a new one is made; the log that it left is kept in {kept}",))


def _give_up(path: Path, kept: Path, reason: str, permit: Permit) -> Opened:
    fault("graph.hopeless.before")
    with permit():
        discard(path)
    fault("graph.hopeless.after")
    return Opened(
        None,
        (f"{path} was damaged beyond repair ({reason}) and is made anew; what it was is kept in {kept}",),
    )


def _set_aside(path: Path, permit: Permit, *, move: bool) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (path.with_name(f"{path.name}.{stamp}-{n}-set-aside") for n in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    fault("graph.aside.before")
    kept.mkdir()
    for file in engine_files(path):
        fault("graph.aside.between")
        if move:
            with permit():
                file.rename(kept / file.name)
        else:
            shutil.copy2(file, kept / file.name)
    fault("graph.aside.after")
    return kept
