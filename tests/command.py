"""The command line, run in this process or in a separate one."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from circuitstore.cli.commands import main

from .waiting import LONG_S


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Done:
    """`circuitstore` with these arguments, in this process; what it lets through is a failure of the test."""
    before, out, err = sys.argv, StringIO(), StringIO()
    sys.argv = ["circuitstore", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
    finally:
        sys.argv = before
    return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """The same in a separate process."""
    command = [sys.executable, "-X", "faulthandler", "-m", "circuitstore.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """What a process said on stderr until it ended; if it does not, that and where its threads were."""
    try:
        return process.communicate(timeout=LONG_S)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # at which the fault handler prints all threads
        pytest.fail(f"still at work after {LONG_S:g} s:\n{process.communicate()[1]}")


def refused(*arguments: str | Path) -> str:
    """The one message of a command that must be refused."""
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    return done.stderr


def rows(*arguments: str | Path) -> pd.DataFrame:
    """What a command prints as CSV."""
    done = run(*arguments, "--format", "csv")
    assert done.returncode == 0, done.stderr
    return pd.read_csv(StringIO(done.stdout))
