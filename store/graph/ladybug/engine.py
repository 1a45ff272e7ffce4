"""LadybugDB in a separate process, so that no query can crash this program.

Some queries crash the engine, are stopped neither by its timeout nor by Ctrl-C, or have answers that take all memory.
With a separate process, a crash raises an exception here, a query that does not end is stopped by killing the process,
and the operating system limits the memory. The process is reused between queries, and started again if it has ended.
"""

from __future__ import annotations

import io
import os
import pickle
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ....errors import StoreError
from ...interrupts import AGAIN_S, safe_point
from . import worker
from .file import BUFFER_POOL_SIZE, MAX_DB_SIZE
from .worker import LENGTH, OUT_OF_MEMORY

HEAP = 1 << 30
"""Bytes that a query may use in addition to the buffer pool and its answer."""

GROWTH = 8
"""Memory that the rows of an answer take, as a multiple of the size of their pickle."""

OPEN_S = 120.0
LATE_S = 0.5
"""Seconds after its timeout at which the process is killed if the engine has not stopped the query itself."""

PROGRAM = Path(worker.__file__)

_ERRORS: Mapping[str, type[Exception]] = {"ValueError": ValueError, "IndexError": IndexError}
"""Exceptions other than RuntimeError that the engine raises if the file changes while it reads."""

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Ended(RuntimeError):
    """The engine's process has ended, and with it the query."""


class Crashed(Ended):
    """The process crashed."""


class Overdue(Ended):
    """The process was killed because it did not answer in time."""


class OutOfMemory(Ended):
    """The process ran out of memory."""


class TooLarge(RuntimeError):
    """The answer exceeds its maximum size."""


class Engine:
    """The engine, with one database open at a time. Not thread-safe.

    Methods raise the engine's exceptions, mostly RuntimeError, and `Ended` if the process has ended: then the object
    cannot be used any more.

    Attributes:
        ended: whether the process has ended.
    """

    def __init__(self) -> None:
        """Start the process.

        Raises:
            StoreError: `sys.executable` is not set.
        """
        if not sys.executable:
            raise StoreError("LadybugDB runs in a separate Python process, but sys.executable is not set; set it")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            process_group=0,  # Ctrl-C in the terminal is for this program to handle
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._readable = select.poll()
        self._readable.register(self._answers, select.POLLIN)
        self.ended = False
        self._end = weakref.finalize(self, _end, self._process, os.getpid())
        _engines.add(self)
        self._send(sys.path)

    def open(self, path: Path, *, read_only: bool = True) -> None:
        """Open a database, and close the one that is open."""
        options = {"buffer_pool_size": BUFFER_POOL_SIZE, "max_db_size": MAX_DB_SIZE, "read_only": read_only}
        self._request("open", (str(path), options), OPEN_S)

    def shut(self) -> None:
        """Close the open database; all changes are then on disk."""
        self._request("close", (), OPEN_S)

    def rows(self, text: str, params: Mapping[str, Any]) -> list[list[Any]]:
        """Return the rows of an internal statement, without limits."""
        return self._request("ask", (text, dict(params), None, None, None))[1]

    def ask(
        self, text: str, params: Mapping[str, Any], *, timeout_s: float, max_rows: int, max_bytes: int
    ) -> tuple[Sequence[str], list[list[Any]]]:
        """Return column names and rows of a user's statement; one row more than `max_rows` if there are more.

        Raises:
            TooLarge: the answer has more than `max_bytes` bytes.
            Ended, RuntimeError: as described for the class.
        """
        heap = HEAP + GROWTH * max_bytes
        timeout_ms = max(1, round(timeout_s * 1000))
        arguments = (text, dict(params), timeout_ms, max_rows + 1, heap)
        return self._request("ask", arguments, timeout_s + LATE_S, max_bytes)

    def close(self) -> None:
        """Kill the process."""
        self.ended = True
        self._end()

    def forget(self) -> None:
        """In a forked child: leave the process to the parent."""
        self.ended = True
        self._end.detach()
        self._process.returncode = 0  # the child cannot wait for it
        self._requests.close()
        self._answers.close()

    def _request(
        self, name: str, arguments: tuple[Any, ...], within_s: float | None = None, max_bytes: int | None = None
    ) -> Any:
        ends = None if within_s is None else time.monotonic() + within_s
        try:
            self._send((name, arguments, max_bytes))
            (length,) = LENGTH.unpack(self._read(LENGTH.size, ends))
            error, value = _Plain(io.BytesIO(self._read(length, ends))).load()
        except BaseException:  # Ctrl-C too: its answer would be read as that of the next request
            self.close()
            raise
        if error == TooLarge.__name__:
            raise TooLarge(value)
        if error is not None:
            raise _ERRORS.get(error, RuntimeError)(value)
        return value

    def _send(self, request: object) -> None:
        data = memoryview(pickle.dumps(request, 5))
        try:
            while data:
                data = data[self._requests.write(data) :]
        except BrokenPipeError:
            self._gone()

    def _read(self, count: int, ends: float | None) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._await(ends)
            some = os.read(self._answers.fileno(), count - len(found))
            if not some:
                self._gone()
            found += some
        return bytes(found)

    def _await(self, ends: float | None) -> None:
        """Wait until there is something to read."""
        while True:
            left = AGAIN_S if ends is None else min(AGAIN_S, ends - time.monotonic())
            if self._readable.poll(max(0.0, left) * 1000):
                return
            safe_point()
            if left <= 0:
                raise Overdue("LadybugDB did not answer in time and was stopped")

    def _gone(self) -> NoReturn:
        status = self._process.wait()
        if status == OUT_OF_MEMORY:
            raise OutOfMemory("LadybugDB ran out of memory")
        with suppress(ValueError):
            raise Crashed(f"LadybugDB crashed ({signal.Signals(-status).name})")
        raise Crashed(f"LadybugDB's process ended with exit code {status}")


class _Plain(pickle.Unpickler):
    """An unpickler of plain values and of decimals (sums of integers), which cannot run code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) == ("decimal", "Decimal"):
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"LadybugDB returned a value of type {module_name}.{global_name}")


def _end(process: subprocess.Popen[bytes], started_by: int) -> None:
    if os.getpid() != started_by:
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _forget_all() -> None:
    for engine in list(_engines):
        engine.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forget_all)
