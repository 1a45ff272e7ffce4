"""LadybugDB in a process of its own, so that no query can take this program along.

There are texts that crash the engine, that neither its timeout nor Ctrl-C ends, and whose answer takes all memory. In a
process of its own a crash is an exception here, a query that does not end is ended by ending the process, and memory is
limited by the operating system. The process is kept between queries; the next one after its end starts another.
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
"""Bytes that a query may take besides the buffer pool and its answer."""

GROWTH = 8
"""How many times more memory the rows of an answer take than their pickle."""

OPEN_S = 120.0
LATE_S = 0.5
"""Seconds after its timeout at which a query is ended that the engine itself has not ended."""

PROGRAM = Path(worker.__file__)

_ERRORS: Mapping[str, type[Exception]] = {"ValueError": ValueError, "IndexError": IndexError}
"""What the engine raises besides RuntimeError, where a file changes beneath it."""

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Ended(RuntimeError):
    """The engine's process is gone, and with it the query."""


class Crashed(Ended):
    """It ended by itself."""


class Overdue(Ended):
    """It was ended, as it had not answered in time."""


class OutOfMemory(Ended):
    """It had no memory left."""


class TooLarge(RuntimeError):
    """The answer has more bytes than it may have."""


class Engine:
    """The engine, with one database open at a time. For one thread at a time.

    Methods raise what the engine raises, mostly RuntimeError, and `Ended` when the process is gone: then the engine is
    of no more use.

    Attributes:
        ended: whether the process is gone.
    """

    def __init__(self) -> None:
        """Start the process.

        Raises:
            StoreError: no Python program is known that could be started.
        """
        if not sys.executable:
            raise StoreError("LadybugDB is run by a Python program of its own, and sys.executable names none; set it")
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
        """Open a database, in the place of the one that is open."""
        options = {"buffer_pool_size": BUFFER_POOL_SIZE, "max_db_size": MAX_DB_SIZE, "read_only": read_only}
        self._request("open", (str(path), options), OPEN_S)

    def shut(self) -> None:
        """Close the database that is open, with all that was done to it on disk."""
        self._request("close", (), OPEN_S)

    def rows(self, text: str, params: Mapping[str, Any]) -> list[list[Any]]:
        """Rows of a statement of ours, which needs no limit."""
        return self._request("ask", (text, dict(params), None, None, None))[1]

    def ask(
        self, text: str, params: Mapping[str, Any], *, timeout_s: float, max_rows: int, max_bytes: int
    ) -> tuple[Sequence[str], list[list[Any]]]:
        """Column names and rows of a statement of a user's, one row more than `max_rows` where there are more.

        Raises:
            TooLarge: the answer has more bytes; and what the class tells of.
        """
        heap = HEAP + GROWTH * max_bytes
        timeout_ms = max(1, round(timeout_s * 1000))
        arguments = (text, dict(params), timeout_ms, max_rows + 1, heap)
        return self._request("ask", arguments, timeout_s + LATE_S, max_bytes)

    def close(self) -> None:
        """End the process, whatever it does."""
        self.ended = True
        self._end()

    def forget(self) -> None:
        """In a forked child: leave the process to the parent."""
        self.ended = True
        self._end.detach()
        self._process.returncode = 0  # as far as this process is concerned; it cannot wait for it
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
        except BaseException:  # Ctrl-C too: what it would answer belongs to no request any more
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
        """Return when there is something to read."""
        while True:
            left = AGAIN_S if ends is None else min(AGAIN_S, ends - time.monotonic())
            if self._readable.poll(max(0.0, left) * 1000):
                return
            safe_point()
            if left <= 0:
                raise Overdue("LadybugDB did not answer in time, and was ended")

    def _gone(self) -> NoReturn:
        status = self._process.wait()
        if status == OUT_OF_MEMORY:
            raise OutOfMemory("LadybugDB had no memory left")
        with suppress(ValueError):
            raise Crashed(f"LadybugDB crashed ({signal.Signals(-status).name})")
        raise Crashed(f"LadybugDB's process ended with exit code {status}")


class _Plain(pickle.Unpickler):
    """Reads plain values, and the decimals that sums of integers are; nothing that could run code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) == ("decimal", "Decimal"):
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"LadybugDB gave a value of type {module_name}.{global_name}")


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
