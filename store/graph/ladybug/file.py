"""Opening a LadybugDB file for writing: one process at a time; damaged files are set aside and reported.

Two properties of the engine matter here. It loses its lock on the file as soon as the process closes any other handle
to it, so this module uses a separate lock file. A write-ahead log truncated by a crash of the machine may fail to
replay; then everything is copied first, and the valid part is opened.
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

MAX_DB_SIZE = 1 << 36  # the default maps 8 TiB, which fails in containers
BUFFER_POOL_SIZE = 1 << 30
OUR_SUFFIX = ".lbdb"
DOUBTED = ".doubted"
HOLDER = "process "
"""Beginning of the note in the lock file while a process writes."""
OUR_SUFFIXES = (".lock", "-set-aside", DOUBTED)
NO_ROOM = ("No space left", "Disk quota exceeded", "Cannot write to file")
"""Messages of the engine when the disk is full."""
LITTLE_ROOM = 1 << 20
"""Bytes; with less free space, any error is reported as a full disk, because the engine fails to read what it could
not write."""

_open: weakref.WeakSet[ladybug.Database] = weakref.WeakSet()


def _disown() -> None:
    """In a forked child: keep the parent's databases.

    A fork does not have the engine's threads, and releasing a database would wait for them forever.
    """
    for database in _open:
        keep(database)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_disown)


def keep(database: ladybug.Database) -> None:
    """Never release a database, not even when the interpreter exits."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(database))


def engine_files(path: Path) -> list[Path]:
    """Return the existing files of a database: its file, and the engine's logs and shadow pages."""
    return [p for p in sorted(path.parent.glob(f"{escape(path.name)}*")) if _is_of(path, p.name)]


def _is_of(path: Path, name: str) -> bool:
    if name == path.name:
        return True
    suffix = name.removeprefix(path.name)  # the file itself may end in `.new`
    return suffix.startswith(".") and not suffix.startswith(".new") and not suffix.endswith(OUR_SUFFIXES)


def lock_for_writing(path: Path) -> Lock:
    """Lock a file for writing by one handle of one process.

    Raises:
        StoreBusy: another handle, in this or another process, has the lock.
        StoreError: the folder cannot be written.
    """
    beside = lock_of(path)
    for _ in range(5):  # readers take the lock briefly, to see whether there is a writer
        if lock := Lock.take(beside):
            with suppress(OSError):  # on a full disk the lock has no name
                lock.write(f"{HOLDER}{os.getpid()} on {socket.gethostname()}")
            return lock
        time.sleep(0.02)
    note = note_in(beside)  # briefly, it is still the checksum of the last writer
    raise StoreBusy(
        f"{path} is open for writing by {note if note.startswith(HOLDER) else 'another process'}; "
        "wait until it has finished (--wait SECONDS), or stop it and try again"
    )


def lock_of(path: Path) -> Path:
    """Return the lock file of a database file."""
    return path.with_name(f"{path.name}.lock")


class Opened(NamedTuple):
    """An open database, or None if nothing usable exists; and messages for the user about what was done."""

    database: ladybug.Database | None
    notices: tuple[str, ...] = ()


def open_for_writing(path: Path, lock: Lock, permit: Permit) -> Opened:
    """Open an existing file, whose lock the caller has; changes of files need the `permit`.

    A file to which a write failed is discarded. A damaged file is copied to a folder, with its logs, and its valid part
    is opened; if there is no valid part, or it cannot be determined, the file is discarded.

    Raises:
        StoreBusy: a program that ignores the lock file has the file open.
        StoreVersion: the file has the format of another version of LadybugDB.
        StoreForeign: not a database, and its name does not end in `.lbdb`, so it may be a file of the user.
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
        return Opened(None, (f"an earlier write to {path} failed, for example on a full disk; it is created again",))
    if not path.exists():
        return _without_main_file(path, permit)
    try:
        return Opened(connectable(path))
    except RuntimeError as error:
        check_repairable(path, error)
        reason = str(error).splitlines()[0]
    kept = _set_aside(path, permit, move=False)
    try:
        database = connectable(path, throw_on_wal_replay_failure=False)
    except RuntimeError:
        return _give_up(path, kept, reason, permit)
    return Opened(
        database,
        (f"{path} was damaged ({reason}); its valid part is used, and the damaged file is kept in {kept}",),
    )


@contextmanager
def kept_if_torn(database: ladybug.Database) -> Iterator[None]:
    """Keep a database when a write fails: when released, it would write again and end the process."""
    try:
        yield
    except RuntimeError:
        keep(database)
        raise


@contextmanager
def doubted(path: Path, database: ladybug.Database) -> Iterator[None]:
    """Mark the file when a write fails, so that it is discarded when it is opened again.

    On a full disk, the engine leaves tables without their indexes, and later opens them without an error.
    """
    try:
        with kept_if_torn(database):
            yield
    except RuntimeError:
        with suppress(OSError):
            _doubt(path).touch()
        raise


def failure(path: Path, error: RuntimeError) -> StoreError:
    """Return the error for the user, which explains a full disk."""
    if any(words in str(error) for words in NO_ROOM) or shutil.disk_usage(path.parent).free < LITTLE_ROOM:
        return StoreError(explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path))
    return StoreError(f"graph {path}: {error}")


def _doubt(path: Path) -> Path:
    return path.with_name(path.name + DOUBTED)


def connectable(path: Path, *, read_only: bool = False, throw_on_wal_replay_failure: bool = True) -> ladybug.Database:
    """Open a database and check that it accepts connections; raise the engine's RuntimeError otherwise."""
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


def check_repairable(path: Path, error: RuntimeError) -> None:
    """Raise errors that no repair can fix; return if the file may be damaged or briefly busy."""
    text = str(error)
    if any(words in text for words in NO_ROOM):
        raise failure(path, error) from error
    if path.is_dir():
        raise StoreError(f"the graph {path} is a folder; give the path of a file") from error
    if "Could not set lock on file" in text:
        pid = re.search(r"PID (\d+)", text)
        who = f"process {pid[1]}" if pid else "another program"
        raise StoreBusy(f"{path} is open for writing by {who}; stop it and try again") from error
    if versions := re.search(r"file version: (\d+), Current build storage version: (\d+)", text):
        raise StoreVersion(
            f"{path} has LadybugDB format {versions[1]}, ladybug {ladybug.__version__} reads format {versions[2]}; use "
            "the circuitstore that wrote it, or rebuild the graph from the archive with: circuitstore rebuild"
        ) from error
    if "not a valid" in text and path.suffix != OUR_SUFFIX and path.stat().st_size:
        raise StoreForeign(
            f"{path} is not a LadybugDB file; it was not changed; give another path for the graph"
        ) from error


def discard(path: Path, *, but_main: bool = False) -> None:
    """Delete the engine's other files, then the file itself."""
    for file in reversed(engine_files(path)):
        if file != path or not but_main:
            file.unlink()


def set_aside(path: Path, permit: Permit) -> Path:
    """Move the file and the engine's other files into a new folder, and return the folder."""
    return _set_aside(path, permit, move=True)


def _without_main_file(path: Path, permit: Permit) -> Opened:
    if not engine_files(path):
        return Opened(None)
    kept = _set_aside(path, permit, move=True)
    return Opened(None, (f"{path} is missing, a new one is created; its log is kept in {kept}",))


def _give_up(path: Path, kept: Path, reason: str, permit: Permit) -> Opened:
    fault("graph.hopeless.before")
    with permit():
        discard(path)
    fault("graph.hopeless.after")
    return Opened(
        None,
        (f"{path} was damaged beyond repair ({reason}) and is created again; the damaged file is kept in {kept}",),
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
