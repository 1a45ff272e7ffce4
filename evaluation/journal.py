"""What a long method has found so far, kept so that it goes on after a kill: nothing twice, nothing lost.

A journal is one file, replaced whole, that belongs to one question: a line that says what it is, the SHA-256 of all
that follows, then the arrays and the question's id as numpy's archive.
"""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from glob import escape
from hashlib import sha256
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..store.lease import Permit, exists

EVERY_S = 10.0
"""Seconds between two writings: what a kill can cost."""

log = logging.getLogger("circuitstore")

_MAGIC, _KEY = b"circuitstore journal 1\n", "question"


@dataclass
class Journal:
    """The journal of one question.

    Attributes:
        path: its file; None keeps nothing.
        question: id of what is asked.
        own: the file is named for this question, so that whatever is in it is its journal, if a damaged one; else
            what is another question's, or no journal, is refused.
        permit: what a store's writer must enter to replace or remove a file.
    """

    path: Path | None = None
    question: str = ""
    own: bool = False
    permit: Permit = nullcontext
    _written: float = field(default_factory=time.monotonic, init=False)

    def read(self) -> dict[str, np.ndarray]:
        """What was kept, by name; empty where nothing was, or where it is damaged, which is logged.

        Raises:
            InputError: the file is another question's, or no journal, and not its own: it is not written over.
        """
        self._clear_killed()
        if self.path is None or not self.path.exists() or not self.path.stat().st_size:
            return {}
        try:
            state = self._state(self.path)
        except InputError:
            if not self.own:
                raise
            state = None
        if state is None:
            log.warning("%s: damaged; what it kept is lost, and this one question is begun anew", self.path)
        return state or {}

    def _state(self, path: Path) -> dict[str, np.ndarray] | None:
        """What a journal holds; None where it is not as it was written."""
        packed = self._sound(path)
        if packed is None:
            return None
        with np.load(io.BytesIO(packed), allow_pickle=False) as kept:
            state = {name: kept[name] for name in kept.files}
        found = str(state.pop(_KEY, ""))
        if found != self.question:
            raise InputError(
                f"{path}: holds the progress of another question (other model, images, method or parameters); "
                "give another file, or remove it"
            )
        return state

    @staticmethod
    def _sound(path: Path) -> bytes | None:
        """The archive in a journal; None where it is not as it was written."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error}); give another file for the journal") from error
        start = len(_MAGIC) + sha256().digest_size
        if not content.startswith(_MAGIC[: len(content)]):
            raise InputError(f"{path}: expected a journal, got another file; give another one, or remove it")
        packed = content[start:]
        return packed if sha256(packed).digest() == content[len(_MAGIC) : start] else None

    def keep(self, state: Mapping[str, np.ndarray]) -> None:
        """Keep this in place of what was kept, if the last time is long enough ago."""
        if self.path is None or time.monotonic() - self._written < EVERY_S:
            return
        buffer = io.BytesIO()
        np.savez(buffer, **{_KEY: np.array(self.question)}, **state)  # pyright: ignore[reportArgumentType]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        with part.open("wb") as file:
            file.write(_MAGIC + sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        with self.permit():
            part.replace(self.path)
        self._written = time.monotonic()

    def forget(self) -> None:
        """The question is answered."""
        if self.path is not None:
            with self.permit():
                self.path.unlink(missing_ok=True)
            self._clear_killed()

    def _clear_killed(self) -> None:
        """Remove what processes left that were killed while they wrote; one that lives may be about to rename its."""
        if self.path is None:
            return
        for part in self.path.parent.glob(f"{escape(self.path.name)}.*.tmp"):
            process = part.name.removeprefix(f"{self.path.name}.").removesuffix(".tmp")
            if process.isdecimal() and not exists(int(process)):
                part.unlink(missing_ok=True)
