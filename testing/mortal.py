"""Operations on small stores, and a process that runs them and may be killed meanwhile: `Mortal`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from ..circuits import CircuitRecord, Discovery, Response
from ..store import DISCOVERY, Store, Writer, open_store
from ..store.faults import VARIABLE
from .factories import make_discovery, make_item, make_record, with_responses

DISCOVERIES, SIZES = 3, (6, 12)


@dataclass(frozen=True)
class StorePlace:
    """The place of a store: its folder, and the URL of its graph if that is on a server."""

    folder: Path
    graph: str | None = None

    def open(self) -> Store:
        return open_store(self.folder, graph=self.graph)


@lru_cache(maxsize=1)
def pool() -> tuple[tuple[Discovery, CircuitRecord, list[Response]], ...]:
    """Return circuits with their discovery, which two of them share, and their responses."""
    found = [
        make_discovery(i, n_images=4, item=make_item(i, class_index=i, n_layers=2, n_heads=2))
        for i in range(DISCOVERIES)
    ]
    return tuple((discovery, *with_responses(make_record(discovery, n))) for discovery in found for n in SIZES)


def put(writer: Writer, run: str, chosen: Collection[int]) -> None:
    """Store circuits of the pool under a run, as the engine does: existing discoveries are not put again."""
    results = [pool()[i] for i in sorted(chosen)]
    items = {d.id: d.item for d, *_ in results}
    wanted = [(r.discovery_id, r.extraction) for _, r, _ in results]
    writer.start_run(run, f'name = "{run}"', list(items.values()), wanted)
    for discovery, record, responses in results:
        if not writer.has(DISCOVERY, discovery.id):
            writer.lease_item(discovery.id)
            writer.put(discovery, run=run)
        writer.put(*responses, record, run=run)


def do(task: str, writer: Writer, run: str, chosen: Collection[int]) -> None:
    """Run an operation that may be killed and repeated; `open` runs only what opening does."""
    match task:
        case "put":
            put(writer, run, chosen)
            writer.flush()
        case "gc":
            writer.gc()
        case "rebuild":
            writer.rebuild()


class Mortal:
    """A process that runs tasks in forks of itself, which may be killed; the imports are needed only once.

    The account of a server must be in the environment when the object is created.

    Attributes:
        killed: number of killed forks, by task.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.killed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()

    def run(self, place: StorePlace, task: str, run: str, chosen: Collection[int], point: str) -> None:
        """Run a task on a store, to its end or to the fault point `NAME:N`, counted after the writer was opened.

        For the task `open`, it is counted from the beginning.

        Raises:
            AssertionError: the task failed for another reason; its traceback is in standard error.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        request = [str(place.folder), place.graph, task, run, sorted(chosen), point]
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL), f"{task} before {point} ended with {status}"
        self.killed[task] += status != 0


def main() -> None:
    """Run each request from standard input in a fork, and print its exit status."""
    pool()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_status(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _status(line: str) -> int:
    folder, graph, task, run, chosen, point = json.loads(line)
    if task == "open":
        os.environ[VARIABLE] = point
    try:
        with open_store(folder, graph=graph) as store, store.writer() as writer:
            os.environ[VARIABLE] = point
            do(task, writer, run, chosen)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
