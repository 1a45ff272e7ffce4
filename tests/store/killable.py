"""A process that works on a store in forks of itself, each of which may be killed at a fault point.

Reads lines `FOLDER POINT` (`-`: no fault), answers with the exit status of the fork (-9: killed).
Importing once and forking is what makes a kill at every point affordable.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from circuitstore.store import create_store
from circuitstore.store.faults import VARIABLE
from conftest import make_world

WORLD, SECOND = make_world(2, (6,)), make_world(3, (9,))


def work(folder: Path) -> None:
    """Two runs, one of which is deleted and collected; a damaged file; a rebuild. May be interrupted and repeated."""
    with create_store(folder) as store, store.writer() as writer:
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


def main() -> None:
    for line in sys.stdin:
        folder, point = line.split()
        if point != "-":
            os.environ[VARIABLE] = point
        child = os.fork()
        if child == 0:
            try:
                work(Path(folder))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.environ.pop(VARIABLE, None)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
