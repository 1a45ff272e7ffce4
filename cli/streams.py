"""Prepares stdin, stdout and stderr, which may be closed, full, or in an encoding that lacks some characters."""

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
    """Open closed streams, and let stdout accept every character, while a command runs.

    Characters that the encoding of stdout lacks are escaped. Writing to a stdout that cannot be written raises
    `CircuitStoreError`; if the reader of a pipe has exited, it raises `BrokenPipeError` as usual.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in the order of their file descriptors
        if getattr(sys, name) is None:  # otherwise the next file to be opened gets its descriptor
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
    """A stream that raises `CircuitStoreError` if it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: CircuitStoreError | None = None

    def write(self, text: str) -> int:
        if self._failure is not None:  # the first error was caught, and writing continues
            raise self._failure
        try:
            written = self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            self._discard_buffer()
            self._failure = CircuitStoreError(
                f"cannot write to stdout ({error.strerror or error}); free some space, or name a file with --out"
            )
            raise self._failure from error
        return written

    def _discard_buffer(self) -> None:
        """Send what is still buffered to the null device, or Python would report the error again at exit."""
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
