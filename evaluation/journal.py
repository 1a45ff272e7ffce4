"""Progress of a long method on disk, so that it resumes after it was killed without repeating or losing work.

A journal is one file for one question, and is replaced atomically. It holds a line with its format, the SHA-256 of all
that follows, then the arrays and the question's id as a numpy archive.
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
"""Seconds between two writes: the most that is lost when the process is killed."""

log = logging.getLogger("circuitstore")

_MAGIC, _KEY = b"circuitstore journal 1\n", "question"


@dataclass
class Journal:
    """The journal of one question.

    Attributes:
        path: its file; None to save nothing.
        question: id of the question.
        own: whether the file is named after this question, so that any content is its journal, perhaps damaged.
            Otherwise a file that is not a journal, or the journal of another question, raises.
        permit: context in which a store's writer replaces or removes a file.
    """

    path: Path | None = None
    question: str = ""
    own: bool = False
    permit: Permit = nullcontext
    _written: float = field(default_factory=time.monotonic, init=False)

    def read(self) -> dict[str, np.ndarray]:
        """Return the saved arrays by name; empty if nothing was saved, or if the file is damaged, which is logged.

        Raises:
            InputError: the file is not this question's own, and is no journal or another question's. It is not
                overwritten.
        """
        self._remove_leftovers()
        if self.path is None or not self.path.exists() or not self.path.stat().st_size:
            return {}
        try:
            state = self._state(self.path)
        except InputError:
            if not self.own:
                raise
            state = None
        if state is None:
            log.warning("%s: damaged; its progress is lost, and this question starts from the beginning", self.path)
        return state or {}

    def _state(self, path: Path) -> dict[str, np.ndarray] | None:
        """Return the arrays of a journal; None if it is damaged."""
        packed = self._sound(path)
        if packed is None:
            return None
        with np.load(io.BytesIO(packed), allow_pickle=False) as kept:
            state = {name: kept[name] for name in kept.files}
        found = str(state.pop(_KEY, ""))
        if found != self.question:
            raise InputError(
                f"{path}: has the progress of another question (other model, images, method or parameters); "
                "pass another file, or remove this one"
            )
        return state

    @staticmethod
    def _sound(path: Path) -> bytes | None:
        """Return the archive in a journal; None if it is damaged."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error}); pass another file for the journal") from error
        start = len(_MAGIC) + sha256().digest_size
        if not content.startswith(_MAGIC[: len(content)]):
            raise InputError(f"{path}: expected a journal, got another file; pass another path, or remove the file")
        packed = content[start:]
        return packed if sha256(packed).digest() == content[len(_MAGIC) : start] else None

    def save(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the saved arrays, unless the last save was less than `EVERY_S` seconds ago."""
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

    def remove(self) -> None:
        """Remove the journal of an answered question."""
        if self.path is not None:
            with self.permit():
                self.path.unlink(missing_ok=True)
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Remove temporary files of killed processes. A living process may still rename its file."""
        if self.path is None:
            return
        for part in self.path.parent.glob(f"{escape(self.path.name)}.*.tmp"):
            process = part.name.removeprefix(f"{self.path.name}.").removesuffix(".tmp")
            if process.isdecimal() and not exists(int(process)):
                part.unlink(missing_ok=True)
