"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    Drawn = tqdm[NoReturn]
else:
    Drawn = tqdm  # generic only in its type stubs

T = TypeVar("T")

QUIET_S = 2.0
"""Seconds after which a late bar appears."""


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
