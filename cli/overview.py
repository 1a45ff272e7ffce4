"""What `circuitstore status` shows: runs with the time they still need, and the items of one run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from ..results import Table

if TYPE_CHECKING:
    from ..store import Store

RECENT = 20
"""Items whose pace tells the pace of the rest."""


def runs(store: Store) -> Table:
    """One row a run: `run, items, done, running, failed, waiting, circuits, left, changed`.

    `left` is the time that waiting items need at the pace of the last ones, while a process writes.
    """
    writer = store.writing_process()
    frame = store.runs().rename(columns={"leased": "running", "wanted": "waiting"})
    column = frame.to_dict("list")
    frame["left"] = [_left(store, run) if writer else "" for run in column["run"]]
    frame["changed"] = _dates(column["changed_ms"])
    shown = ["run", "items", "done", "running", "failed", "waiting", "circuits", "left", "changed"]
    return Table(frame.filter(items=shown), (f"{writer} is writing now" if writer else "nothing is writing now",))


def items(store: Store, run: str) -> Table:
    """One row an item of a run, in the order in which they are answered: what it asks, its state, its error."""
    frame = store.items(run)
    frame["changed"] = _dates(frame.to_dict("list")["changed_ms"])
    shown = ["class", "condition", "method", "form", "corruption", "metric", "state", "attempts", "changed", "error"]
    return Table(frame.filter(items=shown))


def _dates(milliseconds: Iterable[int]) -> list[str]:
    return [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000)) for ms in milliseconds]


def _left(store: Store, run: str) -> str:
    """Time that the waiting items of a run need: their number times the median gap between the last ones done."""
    column = store.items(run).to_dict("list")
    ended = sorted(ms for ms, state in zip(column["changed_ms"], column["state"], strict=True) if state == "done")
    waiting = sum(state in ("wanted", "leased") for state in column["state"])
    gaps = [later - earlier for earlier, later in pairwise(ended[-RECENT - 1 :])]
    return duration(waiting * median(gaps) / 1000) if gaps and waiting else ""


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
