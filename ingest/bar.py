"""How far a run is, on stderr."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self

from tqdm import tqdm

if TYPE_CHECKING:
    Drawn = tqdm[NoReturn]
else:
    Drawn = tqdm  # it is generic in its stubs alone


EVERY_S = 30.0
"""Seconds between two lines in a log file."""


def shown(total: int, *, wanted: bool) -> Bar | Lines:
    """How far a run of so many items is: a bar on a terminal, lines in a log file, nothing where none is wanted."""
    if wanted and not sys.stderr.isatty():
        return Lines(total)
    return Bar(total=total, unit="item", disable=not wanted, dynamic_ncols=True)


class Bar(Drawn):
    """A progress bar that one thread draws; where nobody reads stderr any more, the run goes on without it."""

    def reach(self, count: int) -> None:
        """So many are done in all."""
        self.update(count - self.n)

    def refresh(self, *_: Any, **__: Any) -> None:
        """Draw it. tqdm's own, left by an error or Ctrl-C, would keep the lock of all bars of the process."""
        with self.get_lock():
            try:
                super().refresh(nolock=True)
            except OSError:
                self.disable = True

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class Lines:
    """The same for a log file: a line at first, then one from time to time."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._title = self._part = ""
        self._began, self._said = time.monotonic(), float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def set_description(self, title: str) -> None:
        """Which item is worked at."""
        self._title = title

    def set_postfix_str(self, part: str, refresh: bool = True) -> None:
        """How far that item is."""
        self._part = part

    def reach(self, count: int) -> None:
        """So many are done in all."""
        self._done = count
        now = time.monotonic()
        if now - self._said >= EVERY_S:
            self._said = now
            with suppress(OSError):
                print(self._line(now - self._began), file=sys.stderr, flush=True)

    def _line(self, took_s: float) -> str:
        left_s = took_s / self._done * (self._total - self._done) if self._done else None
        left = "" if left_s is None else f", about {tqdm.format_interval(left_s)} left"
        part = f" ({self._part})" if self._part else ""
        return f"{self._done} of {self._total} items after {tqdm.format_interval(took_s)}{left}: {self._title}{part}"
