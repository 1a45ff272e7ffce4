"""Reading a LadybugDB file that another process may be writing.

The engine has no stable view of a file during a writer's checkpoint: opening fails, or, rarely, pages change during a
query. So a read counts only if the file did not change from before it was opened until after the answer; otherwise it
is repeated, up to a time limit. The engine runs in a separate process, which a query may end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import stamina

from ....errors import StoreBusy, StoreDamaged
from ...interrupts import await_, safe_point, unbroken
from ...locks import is_held, note_in
from ..errors import check_usable, no_graph
from .engine import Engine, Overdue
from .file import check_repairable, engine_files, lock_for_writing, lock_of
from .seal import is_intact

AT_ONCE = 8
"""Maximum number of concurrent queries, each in a separate process; further queries wait."""

IDLE = 2
"""Maximum number of idle processes kept for further queries."""

RETRY_S = 10.0
SETTLED_S = 0.02  # after a change, another within this time may leave the time stamp the same

logging.getLogger("stamina").addHandler(logging.NullHandler())

_TORN = (ValueError, IndexError)
"""Exceptions that the engine raises, in addition to its own, if sizes change while it reads them."""

T = TypeVar("T")
Signature = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and modification time (ns) of each of the engine's files; main file first."""


class _Unsettled(Exception):
    """The file changed while it was being opened or read."""


class Snapshot:
    """A file opened for reading, and again after each change by a writer. Not thread-safe."""

    def __init__(self, path: Path, intact: set[tuple[Signature, str]] | None = None) -> None:
        """Create a reader of a file, which it opens when it first reads.

        Args:
            intact: the last state of the file that matched its checksum, with the note that contains the checksum;
                shared by all readers of the file, so that only one checks it.
        """
        self._path = path
        self._engine: Engine | None = None
        self._seen: Signature = ()
        self._intact = set() if intact is None else intact

    def read(self, query: Callable[[Engine], T], calm: Callable[[], AbstractContextManager[object]] = nullcontext) -> T:
        """Return the result of `query`, called with an engine that has one committed state open.

        Args:
            calm: entered before the query is repeated because the file changed during it.

        Raises:
            StoreError: the file does not exist, or cannot be read.
            StoreVersion: it has the format of another version of LadybugDB.
            StoreDamaged: it cannot be opened although no one is writing it, or does not match its checksum.
            StoreBusy: it was written continuously for `RETRY_S` seconds.
            Overdue: the query did not end in time.
            RuntimeError: the query failed, and the file did not change during it.
        """
        with suppress(_Unsettled):
            return self._read_once(query)
        with calm():
            return self._read_again(query)

    def _read_again(self, query: Callable[[Engine], T]) -> T:
        try:
            for attempt in stamina.retry_context(
                on=_Unsettled, attempts=None, timeout=RETRY_S, wait_initial=0.02, wait_max=0.3, wait_jitter=0.05
            ):
                safe_point()
                with attempt:
                    return self._read_once(query)
        except _Unsettled as error:
            raise StoreBusy(
                f"{self._path} was written without a pause for {RETRY_S:.0f} s ({error}); "
                "try again in a moment, or when the writer has finished"
            ) from error
        raise AssertionError("stamina gives up with the last error")

    def _read_once(self, query: Callable[[Engine], T]) -> T:
        engine = self._running()  # before reading the file's state: starting takes longer than many pauses of a writer
        before = _signature(self._path)
        if before != self._seen:
            self._open(engine, before)
        try:
            answer = query(engine)
        except Overdue:
            raise
        except Exception:  # any error may result from the change of the file
            if _main(_signature(self._path)) != _main(before):
                raise _Unsettled("changed during a query") from None
            raise
        if _main(_signature(self._path)) != _main(before):
            raise _Unsettled("changed during a query")
        return answer

    def _running(self) -> Engine:
        """Return the engine, started again if a query ended it."""
        if self._engine is None or self._engine.ended:
            if not self._path.exists():
                raise no_graph(self._path)
            self._engine, self._seen = Engine(), ()
        return self._engine

    def _open(self, engine: Engine, signature: Signature) -> None:
        self._seen = ()
        if not self._path.exists():
            raise no_graph(self._path)
        if time.time_ns() - max(changed for *_, changed in signature) < SETTLED_S * 1e9:
            raise _Unsettled("changed a moment ago")
        self._check_seal(signature)
        try:
            engine.open(self._path)
        except _TORN as error:
            raise _Unsettled(str(error)) from error
        except RuntimeError as error:
            check_repairable(self._path, error)
            self._recover(error)
            raise _Unsettled(str(error).splitlines()[0]) from error
        self._seen = signature

    def _check_seal(self, signature: Signature) -> None:
        note = note_in(lock_of(self._path))
        if (signature, note) in self._intact:
            return
        if is_intact(self._path, note):
            self._intact.clear()
            self._intact.add((signature, note))
        elif note_in(lock_of(self._path)) == note:
            raise StoreDamaged(
                f"the graph {self._path} does not match its checksum: the disk altered it, or another program wrote to "
                "it; rebuild it from the archive with: circuitstore rebuild"
            )

    def _recover(self, error: RuntimeError) -> None:
        """Let the engine recover from a killed writer, which it does not do when it opens read-only."""
        if is_held(lock_of(self._path)):
            return
        try:
            lock = lock_for_writing(self._path)
        except StoreBusy:
            return
        engine = Engine()
        try:
            engine.open(self._path, read_only=False)
            engine.shut()
        except RuntimeError as worse:
            raise StoreDamaged(
                f"the graph {self._path} is damaged ({str(worse).splitlines()[0]}); "
                "rebuild it from the archive with: circuitstore rebuild"
            ) from error
        finally:
            engine.close()
            lock.release()

    def close(self) -> None:
        """End the engine; the next `read` starts a new one."""
        if self._engine is not None:
            self._engine.close()
        self._engine, self._seen = None, ()


class Snapshots:
    """A file opened for reading once for each concurrent query, so that queries do not wait for each other."""

    def __init__(self, path: Path, url: str, opened_by: int) -> None:
        self._path, self._url, self._pid = path, url, opened_by
        self._change = threading.Condition()
        self._idle: list[Snapshot] = []
        self._in_use = 0
        self._is_open = True
        self._intact: set[tuple[Signature, str]] = set()

    def read(self, query: Callable[[Engine], T], calm: Callable[[], AbstractContextManager[object]] = nullcontext) -> T:
        """Return the result of `query`; see `Snapshot.read`.

        Raises:
            StoreError: the snapshots are closed, or were opened by another process.
        """
        with self._one() as snapshot:
            return snapshot.read(query, calm)

    @unbroken
    def _one(self) -> Iterator[Snapshot]:
        check_usable(self._url, self._pid, True)  # a fork may have inherited a locked lock
        with self._change:
            await_(self._change, lambda: self._in_use < AT_ONCE or not self._is_open)
            check_usable(self._url, self._pid, self._is_open)
            self._in_use += 1
            snapshot = self._idle.pop() if self._idle else Snapshot(self._path, self._intact)
        try:
            yield snapshot
        finally:
            with self._change:
                self._in_use -= 1
                is_kept = self._is_open and len(self._idle) < IDLE
                if is_kept:
                    self._idle.append(snapshot)
                self._change.notify_all()
            if not is_kept:
                snapshot.close()

    def close(self) -> None:
        """Raise errors for further queries, wait for running ones, and end all processes."""
        with self._change:
            self._is_open = False
            self._change.notify_all()
            while self._in_use:
                self._change.wait()
            for snapshot in self._idle:
                snapshot.close()
            self._idle.clear()


def _signature(path: Path) -> Signature:
    found = []
    for file in engine_files(path):
        with suppress(FileNotFoundError):
            stat = file.stat()
            found.append((file.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def _main(signature: Signature) -> Signature:
    """Return the main file's part: appending to the log does not affect an open database."""
    return signature[:1]
