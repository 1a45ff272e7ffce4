"""Processes that are killed at a named fault point, so that tests can check what they leave: `killed_at`."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import NoReturn

from ..store.faults import VARIABLE, fault
from ..store.graph import open_graph
from .factories import make_records, notes_about, similar_pairs

DONE = "testing.done"
"""The fault point between the end of a task and closing the graph."""


def killed_at(point: str, task: str, url: str, store_id: str, count: int) -> None:
    """Run a task on a graph in another process, which is killed when it reaches a fault point.

    Args:
        point: `NAME` or `NAME:N`, see `circuitstore.store.faults`; or `DONE`.
        task: `put` (the first `count` records of the factory, with times 1, 2, 3 … ms), `remove` (the same records),
            `set_similar` (those of `similar_pairs`, with the value 1), `set_notes` (those of `notes_about`), `clear`
            or `open`.
        url: URL of the graph.
        store_id: id of the store that the graph belongs to.
        count: number of records.

    Raises:
        AssertionError: the process did not reach the point.
    """
    forks = _forks()
    assert forks.stdin is not None and forks.stdout is not None
    with tempfile.NamedTemporaryFile("r") as log:
        request = [{**os.environ, VARIABLE: point}, log.name, task, url, store_id, count]
        forks.stdin.write(json.dumps(request) + "\n")
        forks.stdin.flush()
        status = int(forks.stdout.readline())
        assert status == -signal.SIGKILL, f"{task} did not die at {point}: {status} {log.read()}"


@cache
def _forks() -> subprocess.Popen[str]:
    """Return a process that has imported everything, and forks for each task."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)  # it ends with its standard input
    return process


def _work(task: str, url: str, store_id: str, count: int) -> None:
    records = make_records(count)
    with open_graph(url, store_id=store_id) as graph:
        match task:
            case "put":
                graph.put(records, {r.id: i for i, r in enumerate(records, 1)})
            case "remove":
                graph.remove([r.id for r in records])
            case "set_similar":
                graph.set_similar("jaccard", similar_pairs(records, "jaccard", 1.0))
            case "set_notes":
                graph.set_notes(notes_about(records))
            case "clear":
                graph.clear()
        fault(DONE)


def _end(environment: dict[str, str], log: str, task: tuple[str, str, str, int]) -> NoReturn:
    """Do a task in this process, and end it; errors are written to the log."""
    os.environ.clear()
    os.environ.update(environment)
    with Path(log).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    status = 0
    try:
        _work(*task)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    for line in sys.stdin:
        environment, log, task, url, store_id, count = json.loads(line)
        child = os.fork()
        if child == 0:
            _end(environment, log, (task, url, store_id, count))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
