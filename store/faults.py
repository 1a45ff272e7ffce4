"""Fault injection: named points at which a test can kill or suspend the process.

The points are before and after every fsync, rename and commit, with literal names, so that the tests find all of them
by reading the source. The environment variable `CIRCUITSTORE_FAULT` is `NAME`, `NAME:N` or `NAME:N:SIGNAL`: when the
point is passed for the N-th time (default: the first), the process receives the signal (default: `SIGKILL`; `SIGSTOP`
suspends it until `SIGCONT`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

VARIABLE = "CIRCUITSTORE_FAULT"
_passed: Counter[str] = Counter()
_counting = threading.Lock()


def fault(name: str) -> None:
    """Send the process the signal that the environment variable requests at this point, if any."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    with _counting:
        _passed[name] += 1
        passed = _passed[name]
    point, *rest = wanted.split(":")
    at, sent = (*rest, *("1", "SIGKILL")[len(rest) :])
    if point == name and passed == int(at):
        os.kill(os.getpid(), getattr(signal, sent))
