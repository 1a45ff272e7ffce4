"""A process that works on stores in forks of itself, each of which sleeps at a fault point until it is woken.

Reads lines `start TASK FOLDER GRAPH CATALOG POINT` (`-`: in the folder), answered by `asleep` or by the exit code, and
`wake`, answered by the exit code. What the fork says is in the file `said` next to the folder. Its lease ends
soon after it fell asleep.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from circuitstore.cli.commands import main as command_line
from circuitstore.errors import CircuitStoreError
from circuitstore.store import create_store, lease_holder, postgres
from circuitstore.store.faults import VARIABLE
from conftest import make_world  # pyright: ignore[reportAttributeAccessIssue]
from killable import PRELOADED

LEASE_S, RENEW_S = 0.2, 3600.0
"""It is not renewed: a thread that was stopped in the middle of that would hold the catalog."""

SILENT_S = 1.0
"""After which a PostgreSQL server gives up a transaction of a process that sleeps."""

NEW = make_world(4, (9,))
FOR_COMMANDS = ("alembic.command", "circuitstore.cli.grid", "circuitstore.cli.settings")
"""What commands import in addition."""


def fill(folder: Path, graph: str | None, catalog: str | None) -> None:
    """What `index` does to a store; its errors are printed as the command line prints them."""
    try:
        with create_store(folder, graph=graph, catalog=catalog) as store, store.writer() as writer:
            NEW.fill(writer, "new")
    except CircuitStoreError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def command(*words: str) -> Callable[[Path, str | None, str | None], None]:
    def run(folder: Path, graph: str | None, catalog: str | None) -> None:
        sys.argv = ["circuitstore", *words, "--store", str(folder)]
        sys.argv += ["--graph", graph] if graph else []
        sys.argv += ["--catalog", catalog] if catalog else []
        command_line()

    return run


TASKS = {
    "fill": fill,
    "gc": command("gc"),
    "rebuild": command("rebuild"),
    "delete": command("delete", "run"),
    "migrate": command("migrate"),
}


def start(task: str, folder: Path, *urls: str, point: str) -> int:
    child = os.fork()
    if child:
        return child
    name, _, count = point.partition(":")
    os.environ[VARIABLE] = f"{name}:{count or 1}:SIGSTOP"
    lease_holder.LEASE_S, lease_holder.RENEW_S, postgres.SILENT_S = LEASE_S, RENEW_S, SILENT_S
    sys.stdout = sys.stderr = folder.with_name("said").open("w", buffering=1)
    code = 0
    try:
        TASKS[task](folder, *(None if url == "-" else url for url in urls))
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


def seen(child: int) -> str:
    """What becomes of a child: it falls asleep, or ends with a code."""
    _, status = os.waitpid(child, os.WUNTRACED)
    return "asleep" if os.WIFSTOPPED(status) else str(os.waitstatus_to_exitcode(status))


def main() -> None:
    for module in (*PRELOADED, *FOR_COMMANDS):
        __import__(module)
    child = 0
    for line in sys.stdin:
        what, *words = line.split()
        if what == "start":
            task, folder, *urls, point = words
            child = start(task, Path(folder), *urls, point=point)
        else:
            os.kill(child, signal.SIGCONT)
        said = seen(child)
        child = child if said == "asleep" else 0
        print(said, flush=True)
    if child:  # nobody woke it
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
