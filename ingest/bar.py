"""Progress of a run, on stderr."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Self

from tqdm import tqdm

from ..bars import Bar

EVERY_S = 30.0
"""Seconds between two lines in a log file."""


def progress_display(total: int, *, wanted: bool) -> Bar | Lines:
    """Return the progress display of a run: a bar on a terminal, lines in a log file, or nothing if not wanted."""
    if wanted and not sys.stderr.isatty():
        return Lines(total)
    return Bar(total=total, unit="item", disable=not wanted, dynamic_ncols=True)


class Lines:
    """Progress in a log file: a line at the start, then one every `EVERY_S` seconds."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._title = self._part = ""
        self._began, self._printed = time.monotonic(), float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def set_description(self, title: str) -> None:
        """Set the title of the current item."""
        self._title = title

    def set_postfix_str(self, part: str, refresh: bool = True) -> None:
        """Set the progress of the current item."""
        self._part = part

    def reach(self, count: int) -> None:
        """Set the number of items that are done."""
        self._done = count
        now = time.monotonic()
        if now - self._printed >= EVERY_S:
            self._printed = now
            with suppress(OSError):
                print(self._line(now - self._began), file=sys.stderr, flush=True)

    def _line(self, took_s: float) -> str:
        left_s = took_s / self._done * (self._total - self._done) if self._done else None
        left = "" if left_s is None else f", about {tqdm.format_interval(left_s)} left"
        part = f" ({self._part})" if self._part else ""
        return f"{self._done} of {self._total} items after {tqdm.format_interval(took_s)}{left}: {self._title}{part}"
