"""Waiting for what must come about. The limit only guards against hangs: no busy machine comes near it."""

from __future__ import annotations

import time
from collections.abc import Callable

LONG_S = 600.0


def until(true: Callable[[], object], what: str = "it did not come about") -> None:
    """Return when something is true.

    Raises:
        AssertionError: it is not after `LONG_S` seconds; says what.
    """
    end = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)
