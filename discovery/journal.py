"""What a long method has found so far, kept so that it goes on after a kill: nothing twice, nothing lost.

A journal is one file, replaced whole, that belongs to one question; the question's id lies in it.
"""

from __future__ import annotations

import io
import os
import struct
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path

import numpy as np

from ..errors import InputError

EVERY_S = 10.0
"""Seconds between two writings: what a kill can cost."""

_KEY = "question"
_DAMAGES = (OSError, ValueError, EOFError, KeyError, SyntaxError, RuntimeError, struct.error, zipfile.BadZipFile)
"""What reading a file that is no whole archive of arrays raises."""


@dataclass
class Journal:
    """The journal of one question.

    Attributes:
        path: its file; None keeps nothing.
        question: id of what is asked; another's journal is refused.
    """

    path: Path | None = None
    question: str = ""
    _written: float = field(default_factory=time.monotonic, init=False)

    def read(self) -> dict[str, np.ndarray]:
        """What was kept, by name; empty where nothing was.

        Raises:
            InputError: the file is another question's, or no journal.
        """
        self._clear_killed()
        if self.path is None or not self.path.exists():
            return {}
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                state = {name: kept[name] for name in kept.files}
        except _DAMAGES as error:
            raise InputError(f"{self.path}: no journal that can be read ({error}); remove it to start anew") from error
        found = str(state.pop(_KEY, ""))
        if found != self.question:
            raise InputError(
                f"{self.path}: holds the progress of another question (other model, images, method or parameters); "
                "give another file, or remove it"
            )
        return state

    def keep(self, state: Mapping[str, np.ndarray]) -> None:
        """Keep this in place of what was kept, if the last time is long enough ago."""
        if self.path is None or time.monotonic() - self._written < EVERY_S:
            return
        buffer = io.BytesIO()
        np.savez(buffer, **{_KEY: np.array(self.question)}, **state)  # pyright: ignore[reportArgumentType]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        with part.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)
        self._written = time.monotonic()

    def forget(self) -> None:
        """The question is answered."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self._clear_killed()

    def _clear_killed(self) -> None:
        """Remove what processes left that were killed while they wrote; one that lives may be about to rename its."""
        if self.path is None:
            return
        for part in self.path.parent.glob(f"{escape(self.path.name)}.*.tmp"):
            process = part.name.removeprefix(f"{self.path.name}.").removesuffix(".tmp")
            if process.isdecimal() and not _runs(int(process)):
                part.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
