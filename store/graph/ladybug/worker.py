"""The program that runs LadybugDB in a separate process; `engine` starts it and sends it requests.

It is run by its path and imports nothing from this package, so it starts in about 0.1 s. Each request and each answer
is one pickle: requests arrive on standard input; answers, preceded by their length, go to standard output. The process
ends when standard input is closed, even during a query, so it never outlives the program that started it.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

OUT_OF_MEMORY = 70
"""Exit status after running out of memory: the state of the process is unreliable then."""

LENGTH = struct.Struct("<Q")
STATUS = Path("/proc/self/status")


class TooLarge(Exception):
    """An answer exceeds its maximum size."""


class Worker:
    """The requests, by name: `open`, `ask` and `close`."""

    def __init__(self) -> None:
        self._database: Any = None
        self._data_size = 0  # of the process after opening the database: mostly reserved, not used

    def open(self, path: str, options: dict[str, Any]) -> None:
        """Open a database, and close the one that is open."""
        import ladybug

        self.close()
        _limit("RLIMIT_DATA", None)
        if options["read_only"]:
            _limit("RLIMIT_FSIZE", 0)  # no query can write a file
        database = ladybug.Database(path, **options)
        try:
            ladybug.Connection(database).close()
        except RuntimeError:
            database.close()
            raise
        self._database, self._data_size = database, _data_size()

    def ask(
        self,
        text: str,
        params: dict[str, Any],
        timeout_ms: int | None,
        max_rows: int | None,
        heap: int | None,
    ) -> tuple[list[str], list[list[Any]]]:
        """Return column names and rows of a statement.

        Args:
            timeout_ms: the engine's timeout, which some statements ignore.
            max_rows: maximum number of rows to read.
            heap: maximum bytes of the rows and of the engine without its buffer pool.
        """
        import ladybug

        _limit("RLIMIT_DATA", None if heap is None or not self._data_size else self._data_size + heap)
        with ladybug.Connection(self._database) as connection:
            if timeout_ms is not None:
                connection.set_query_timeout(timeout_ms)
            result: Any = connection.execute(text, params)
            rows = result.get_all() if max_rows is None else result.get_n(max_rows)
            return result.get_column_names(), rows

    def close(self) -> None:
        """Close the open database, if there is one."""
        if self._database is not None:
            self._database.close()
        self._database = None


def _limit(name: str, maximum: int | None) -> None:
    """Set a resource limit of this process, on systems that have them."""
    if os.name != "posix":
        return
    import resource

    what = getattr(resource, name)
    hard = resource.getrlimit(what)[1]
    limits = [limit for limit in (maximum, hard) if limit not in (None, resource.RLIM_INFINITY)]
    resource.setrlimit(what, (min(limits, default=resource.RLIM_INFINITY), hard))


def _data_size() -> int:
    """Return the bytes of private writable memory that this process has mapped; 0 if unknown."""
    if not STATUS.exists():
        return 0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) << 10


def answer(worker: Worker, name: str, arguments: tuple[Any, ...], max_bytes: int | None) -> bytes:
    """Return the pickled answer to a request: `(None, result)`, or name and message of the exception."""
    try:
        packed = pickle.dumps((None, getattr(worker, name)(*arguments)), 5)
        if max_bytes is not None and len(packed) > max_bytes:
            raise TooLarge(f"{len(packed)} bytes")
        return packed
    except Exception as error:
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            os._exit(OUT_OF_MEMORY)
        return pickle.dumps((type(error).__name__, str(error)), 5)


def listen(requests: SimpleQueue[Any]) -> None:
    """Queue incoming requests; end the process when standard input is closed."""
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(0)


def own_output() -> BinaryIO:
    """Return standard output for the answers, and redirect what the engine prints to the null device."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return answers


def main() -> None:
    answers, requests = own_output(), SimpleQueue[Any]()
    threading.Thread(target=listen, args=(requests,), daemon=True).start()
    sys.path[:] = requests.get()  # the path of the program that started this one
    worker = Worker()
    while True:
        packed = answer(worker, *requests.get())
        answers.write(LENGTH.pack(len(packed)) + packed)
        answers.flush()


if __name__ == "__main__":
    main()
