"""Named points at which a test can kill the process, to prove that nothing is lost there.

Each point is passed by its literal name, before and after every fsync, rename and commit, so the
tests find all of them by reading the source. The environment variable `CIRCUITSTORE_FAULT` holds
`NAME` or `NAME:N`; the N-th time (default: the first) that the point is passed, the process dies as
if by `kill -9`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "CIRCUITSTORE_FAULT"
_passed: Counter[str] = Counter()


def fault(name: str) -> None:
    """Die here if the environment says so; otherwise nothing."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    _passed[name] += 1
    point, _, count = wanted.partition(":")
    if point == name and _passed[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
