"""The command line in processes that start at once, to be killed: forks of one that has imported everything.

Reads lines of JSON, the arguments of `circuitstore`; answers each with the number of the fork and, when it has ended,
its exit status (-9: killed). What the fork prints goes to the file named first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

PRELOADED = (
    "circuitstore.cli.commands",
    "circuitstore.cli.grid",
    "circuitstore.cli.settings",
    "circuitstore.ingest",
    "circuitstore.store.graph.ladybug.backend",
    "neo4j",
    "sqlalchemy.dialects.sqlite",
)
"""Otherwise every fork would import them again."""
LONG_S = 600.0
"""Maximum number of seconds to wait for what must happen; a guard against hangs."""


class Forked:
    """Runs one command at a time."""

    def __init__(self, log: Path) -> None:
        """What the commands print is added to `log`."""
        self._log = log
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # bits depend on the order of sums
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=one_thread,
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        self._process.communicate(timeout=LONG_S)

    def run(
        self, arguments: Sequence[str], kill_after_s: float | None = None, *, once: Callable[[], bool] = lambda: True
    ) -> int:
        """Exit status of a command; -9 if it was still at work so long after something came about, and was killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(self._log), *arguments]) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_after_s is not None:
            end = time.monotonic() + LONG_S
            while not once() and time.monotonic() < end:
                time.sleep(0.005)
            time.sleep(kill_after_s)
            os.kill(child, signal.SIGKILL)  # it is there until its status is asked for, below
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _end(command_line: Callable[[], None]) -> NoReturn:
    """Run the command and end this process with its exit status."""
    status = 0
    try:
        command_line()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    for module in PRELOADED:
        __import__(module)
    from circuitstore.cli.commands import main as command_line

    print("ready", flush=True)
    while line := sys.stdin.readline():
        log, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            with Path(log).open("ab", buffering=0) as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            sys.argv = ["circuitstore", *arguments]
            _end(command_line)
        print(child, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
