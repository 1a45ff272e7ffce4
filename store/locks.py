"""Locks between processes on every operating system: a locked file with a note in it.

`filelock` uses the lock of the operating system, which is released when the process ends, however it ends.
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
    """A lock, created by `take` and held until `release`.

    On Windows other handles cannot read the locked byte, the first one; so the note begins after it.

    Attributes:
        left: the note in the file when the lock was taken.
    """

    def __init__(self, descriptor: int, left: str) -> None:
        self._descriptor, self.left = descriptor, left
        _held.add(self)

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock a file, and create it if needed; return None if another handle, of any process, has locked it.

        Raises:
            StoreError: the file cannot be written, or its file system has no locks.
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
                    f"{path} cannot be locked: its file system has no locks ({error.strerror}), and two writers could "
                    "damage the store; choose another place"
                ) from error
            raise StoreError(explain(error, path)) from error
        return None

    def write(self, note: str) -> None:
        """Replace the note in the file, durably."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"\n{note}".encode())
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Release the lock; the file and its note stay."""
        unlock_descriptor(self._descriptor)
        self.forget()

    def forget(self) -> None:
        """Close the handle, in a forked child; the parent keeps the lock."""
        _held.discard(self)
        os.close(self._descriptor)


def note_in(path: Path) -> str:
    """Return the note in a file that may be locked; empty if there is no note or no file."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def is_held(path: Path) -> bool:
    """Return whether a file is locked; False if that is unknown."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return not lock_descriptor(descriptor, blocking=False)
        finally:
            os.close(descriptor)
    return False


def _disown() -> None:
    """Close all handles in a forked child, which would otherwise keep the locks after the parent has ended."""
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_disown)
