"""stdin, stdout and stderr as a command finds them: closed, full, or in an encoding that lacks some letters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, TextIO, cast

from ..errors import CircuitStoreError


@contextmanager
def prepared() -> Iterator[None]:
    """For the length of a command the three streams are there, and stdout takes every letter.

    What its encoding lacks is escaped. A stdout that cannot be written is a `CircuitStoreError`, except that a reader
    who left early is a `BrokenPipeError`, as everywhere.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in the order of their numbers
        if getattr(sys, name) is None:  # else the next file that is opened takes its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
    stdout = sys.stdout
    errors = stdout.errors
    if isinstance(stdout, TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")
    sys.stdout = cast(TextIO, Stdout(stdout))
    try:
        yield
    finally:
        sys.stdout = stdout
        if isinstance(stdout, TextIOWrapper):
            stdout.reconfigure(errors=errors)


class Stdout:
    """A stream that says in a message why it cannot be written; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: CircuitStoreError | None = None

    def write(self, text: str) -> int:
        if self._failure is not None:  # whoever caught it goes on writing
            raise self._failure
        try:
            written = self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            self._give_up()
            self._failure = CircuitStoreError(
                f"cannot write the answer to stdout ({error.strerror or error}); make room, or name a file with --out"
            )
            raise self._failure from error
        return written

    def _give_up(self) -> None:
        """Send what is still buffered nowhere, or Python would report it once more at its end."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
