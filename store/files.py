"""Atomic and durable operations on files and folders."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from ..errors import InputError, StoreError
from .faults import fault
from .lease import Permit

TEMPORARY = ".tmp"
"""Suffix of a file that is being written, or that a killed writer left."""

DEEPEST = "archive/discoveries/ab/" + "f" * 100
"""A path as long as the longest in a store's folder: an id, and the suffixes of a temporary file."""

_numbers = itertools.count(1)


def write_atomic(path: Path, data: bytes | memoryview, permit: Permit = nullcontext) -> None:
    """Write a file atomically and durably: temporary file, fsync, rename, fsync of the folder.

    A reader sees the whole file or none; after the call it survives a power cut. The rename runs under the `permit`.

    Raises:
        StoreError: the disk is full or failed, or there is no permission; no temporary file is left.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{next(_numbers)}{TEMPORARY}")
    with _translated(path):
        make_folder(path.parent)
        try:
            fault("archive.write.before")
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                fault("archive.fsync.before")
                os.fsync(file.fileno())
            fault("archive.rename.before")
            with permit():
                temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        fault("archive.rename.after")
        sync_folder(path.parent)
        fault("archive.folder.after")


def reachable(path: Path, within: str = "") -> Path:
    """Return the path, after checking that the system can look it up, and a path within it.

    Raises:
        InputError: the path is not UTF-8, so the databases cannot open it.
        StoreError: it is too long, or there is no permission to enter a folder of it.
    """
    try:
        str(path).encode()
        (path / within).stat()
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a} is not UTF-8; choose a place with another name") from None
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise StoreError(explain(error, path, "reach")) from error
    return path


def ensure_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist.

    Raises:
        StoreError: it cannot be created.
    """
    with _translated(folder):
        make_folder(folder)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents durably, unless they exist. Raises OSError if that fails."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    fault("archive.make.before")
    folder.mkdir(exist_ok=True)
    fault("archive.make.between")
    sync_folder(folder.parent)
    fault("archive.make.after")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable by fsync; on Windows, which has none, the file system does it."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path, permit: Permit = nullcontext) -> None:
    """Delete a file under the `permit`, if it exists.

    Raises:
        StoreError: it cannot be deleted.
    """
    with _translated(path):
        fault("archive.remove.before")
        with permit():
            path.unlink(missing_ok=True)
        fault("archive.remove.after")


def rename(path: Path, target: Path, permit: Permit = nullcontext) -> Path:
    """Rename a file durably under the `permit`; return its new path.

    Raises:
        StoreError: it cannot be renamed.
    """
    with _translated(path):
        fault("archive.aside.before")
        with permit():
            path.replace(target)
        fault("archive.aside.between")
        sync_folder(path.parent)
        fault("archive.aside.after")
    return target


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise errors of the disk as `StoreError` with path and remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(explain(error, path)) from error


def explain(error: OSError, path: Path, what: str = "write") -> str:
    """Return the message for an error of the operating system: operation, path, reason and remedy."""
    match error.errno:
        case errno.ENAMETOOLONG:
            remedy = "choose a place with a shorter path"
        case errno.EACCES | errno.EPERM if what == "reach":
            remedy = "this account has no permission to enter the folder; ask its owner for it, or choose another place"
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            remedy = "there is no room left; free some, then run the same command again: it resumes where it stopped"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            remedy = "the folder is not writable; change its permissions or choose another with --store FOLDER"
        case errno.ENOTDIR | errno.EEXIST | errno.ENOENT:
            remedy = "a store is a folder; something else is in its place; choose another with --store FOLDER"
        case _:
            remedy = "the disk failed; no incomplete file was kept; run the same command again"
    return f"cannot {what} {path}: {error.strerror or error}; {remedy}"
