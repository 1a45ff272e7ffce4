"""Locks between processes, on every system: a file that one handle has locked, and a note in it.

`filelock` knows each system's own lock, which is gone when its process ends, however that ends.
"""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import lock_descriptor, unlock_descriptor

from ..errors import StoreError
from .files import explain, make_folder

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """A lock that is held, until `release`. Made by `take`.

    On Windows nobody else can read the byte that is locked, the first; the note begins behind it.

    Attributes:
        left: the note that was in the file when it was taken.
    """

    def __init__(self, descriptor: int, left: str) -> None:
        self._descriptor, self.left = descriptor, left
        _held.add(self)

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock a file, made if it is not there; None if another handle, in this process or another, has it locked.

        Raises:
            StoreError: the file cannot be written, or its file system knows no locks.
        """
        try:
            make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                if lock_descriptor(descriptor, blocking=False):
                    return cls(descriptor, note_in(path))
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise StoreError(
                    f"{path} cannot be locked: its file system has no locks ({error.strerror}), and two writers would "
                    "harm each other; choose another place"
                ) from error
            raise StoreError(explain(error, path)) from error
        return None

    def write(self, note: str) -> None:
        """Put a note in the place of the one that is in the file, durably."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"\n{note}".encode())
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Let go of it; the file and its note stay."""
        unlock_descriptor(self._descriptor)
        self.forget()

    def forget(self) -> None:
        """In a forked child: give up the handle; the parent keeps the lock."""
        _held.discard(self)
        os.close(self._descriptor)


def note_in(path: Path) -> str:
    """The note in a file that may be locked; empty where there is none, or no file."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def is_held(path: Path) -> bool:
    """Whether somebody has a file locked; False where that cannot be told."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return not lock_descriptor(descriptor, blocking=False)
        finally:
            os.close(descriptor)
    return False


def _disown() -> None:
    """In a forked child a lock would outlast the parent as long as the child lives."""
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_disown)
