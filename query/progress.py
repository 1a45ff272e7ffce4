"""How far runs are, and the time that they need."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from ..store import Store

RECENT = 20
"""Number of the latest items from which the remaining time is estimated."""


def seconds_left(store: Store, run: str) -> float | None:
    """Estimate the time for waiting items: their number times the median time between the latest finished items.

    Returns:
        Seconds; None if nothing waits, or too few items have ended.

    Raises:
        InputError: there is no such run.

    Examples:
        >>> print(seconds_left(store, "toys"))
        None
    """
    column = store.items(run).to_dict("list")
    ended = sorted(ms for ms, state in zip(column["changed_ms"], column["state"], strict=True) if state == "done")
    waiting = sum(state in ("wanted", "leased") for state in column["state"])
    gaps = [later - earlier for earlier, later in pairwise(ended[-RECENT - 1 :])]
    return waiting * median(gaps) / 1000 if gaps and waiting else None
