"""A process that works on stores in forks of itself, each of which may be killed at a fault point.

Reads lines `TASK FOLDER GRAPH CATALOG POINT` (`-`: graph or catalog in the folder; no fault), answers with the exit
status of the fork (-9: killed). Importing once and forking is what makes a kill at every point affordable.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from circuitstore.store import create_store, rebuild_store
from circuitstore.store.faults import VARIABLE
from conftest import make_world  # pyright: ignore[reportAttributeAccessIssue]
from recorded import recorded

PRELOADED = (
    "circuitstore.store.graph.ladybug.backend",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "stamina",
)
"""Otherwise every fork would import them again."""
WORLD, SECOND = make_world(2, (6,)), make_world(3, (9,))


def work(folder: Path, graph: str | None, catalog: str | None) -> None:
    """Two runs, one of which is deleted and collected; a damaged file; a rebuild. May be interrupted and repeated."""
    with create_store(folder, graph=graph, catalog=catalog) as store, store.writer() as writer:
        SECOND.fill(writer, "second")
        WORLD.fill(writer)
        writer.flush()
        writer.delete_run("second")
        writer.gc()
        marker, record = folder / "was-damaged", WORLD.records[1]
        if not marker.exists():
            marker.touch()
            store.archive.path("circuit", record.id).write_bytes(b"PAR1")
        writer.rebuild()
        WORLD.fill(writer)


def rebuild(folder: Path, graph: str | None, catalog: str | None) -> None:
    """Create the graph again, whatever is there."""
    rebuild_store(folder, graph=graph, catalog=catalog)


def record(folder: Path, graph: str | None, catalog: str | None) -> None:
    """What `work` does durably, and the points that it passes, in order, a line each, in the file `steps`."""
    with recorded(folder.with_name("steps")):
        work(folder, graph, catalog)


TASKS: dict[str, Callable[[Path, str | None, str | None], None]] = {"work": work, "rebuild": rebuild, "record": record}


def main() -> None:
    for module in PRELOADED:
        __import__(module)
    for line in sys.stdin:
        task, folder, *urls, point = line.split()
        if point != "-":
            os.environ[VARIABLE] = point
        child = os.fork()
        if child == 0:
            try:
                graph, catalog = (None if url == "-" else url for url in urls)
                TASKS[task](Path(folder), graph, catalog)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.environ.pop(VARIABLE, None)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
