"""How far a run is, on stderr."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from tqdm import tqdm

if TYPE_CHECKING:
    Drawn = tqdm[NoReturn]
else:
    Drawn = tqdm  # it is generic in its stubs alone


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
