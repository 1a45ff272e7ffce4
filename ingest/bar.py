"""Progress of a run, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    Drawn = tqdm[NoReturn]
else:
    Drawn = tqdm  # generic only in its type stubs

T = TypeVar("T")


EVERY_S = 30.0
"""Seconds between two lines in a log file."""


def progress_display(total: int, *, wanted: bool) -> Bar | Lines:
    """Return the progress display of a run: a bar on a terminal, lines in a log file, or nothing if not wanted."""
    if wanted and not sys.stderr.isatty():
        return Lines(total)
    return Bar(total=total, unit="item", disable=not wanted, dynamic_ncols=True)


QUIET_S = 2.0
"""Seconds of reading after which a progress bar appears."""


def late_bar(elements: Sequence[T], *, unit: str, desc: str, wanted: bool) -> Iterator[T]:
    """Yield the elements; if that takes more than two seconds, show a bar on stderr, if wanted."""
    late: dict[str, Any] = {"delay": QUIET_S, "leave": False, "dynamic_ncols": True}
    with Bar(total=len(elements), unit=unit, desc=desc, disable=not wanted, **late) as bar:
        for element in elements:
            bar.update()
            yield element


class Bar(Drawn):
    """A progress bar that one thread draws; if stderr is closed, the run continues without it."""

    def reach(self, count: int) -> None:
        """Set the number of items that are done."""
        self.update(count - self.n)

    def refresh(self, *_: Any, **__: Any) -> None:
        """Draw the bar. After an error or Ctrl-C, tqdm's own method would not release the lock of all bars."""
        with self.get_lock():
            try:
                super().refresh(nolock=True)
            except OSError:
                self.disable = True

    def close(self) -> None:
        with suppress(OSError):
            super().close()


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
