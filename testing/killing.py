"""Processes that are killed at a named fault point, so that tests can check what they leave: `killed_at`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from ..store.faults import VARIABLE, fault
from ..store.graph import open_graph
from .factories import make_records, similar_pairs

DONE = "testing.done"
"""The fault point between the end of a task and closing the graph."""


def killed_at(point: str, task: str, url: str, store_id: str, count: int) -> None:
    """Run a task on a graph in another process, which is killed when it reaches a fault point.

    Args:
        point: `NAME` or `NAME:N`, see `circuitstore.store.faults`; or `DONE`.
        task: `put` (the first `count` records of the factory, with times 1, 2, 3 … ms), `remove` (the same records),
            `set_similar` (those of `similar_pairs`, with the value 1), `clear` or `open`.
        url: URL of the graph.
        store_id: id of the store that the graph belongs to.
        count: number of records.

    Raises:
        AssertionError: the process did not reach the point.
    """
    command = [sys.executable, "-m", __name__, task, url, store_id, str(count)]
    done = subprocess.run(command, env={**os.environ, VARIABLE: point}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, f"{task} did not die at {point}: {done.returncode} {done.stderr}"


def main(task: str, url: str, store_id: str, count: int) -> None:
    records = make_records(count)
    with open_graph(url, store_id=store_id) as graph:
        match task:
            case "put":
                graph.put(records, {r.id: i for i, r in enumerate(records, 1)})
            case "remove":
                graph.remove([r.id for r in records])
            case "set_similar":
                graph.set_similar("jaccard", similar_pairs(records, "jaccard", 1.0))
            case "clear":
                graph.clear()
        fault(DONE)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
