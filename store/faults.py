"""Named points at which a test can kill the process, or stop it, to prove that nothing is lost there.

Each point is passed by its literal name, before and after every fsync, rename and commit, so the
tests find all of them by reading the source. The environment variable `CIRCUITSTORE_FAULT` holds
`NAME`, `NAME:N` or `NAME:N:SIGNAL`; the N-th time (default: the first) that the point is passed, the process gets
the signal (default: `SIGKILL`; with `SIGSTOP` it sleeps until somebody sends `SIGCONT`).
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
    """Die, or sleep, here if the environment says so; otherwise nothing."""
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
