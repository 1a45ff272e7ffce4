"""Files that appear whole or not at all."""

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
"""Suffix of a file that is being written; one that is found later was left by a killed writer."""

DEEPEST = "archive/discoveries/ab/" + "f" * 100
"""As long as the longest path in a store's folder: an id, what kind of file it is, and whose temporary file."""

_numbers = itertools.count(1)


def write_atomic(path: Path, data: bytes | memoryview, permit: Permit = nullcontext) -> None:
    """Write `path` durably: under a temporary name of its own, fsync, rename, fsync of the folder.

    A reader sees the whole file or none; after the call it survives a power cut. The rename needs the `permit`.

    Raises:
        StoreError: no room, no permission, or the disk failed; nothing is left behind.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{next(_numbers)}{TEMPORARY}")
    with _said(path):
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
    """The path, if the system can tell whether something is there, or at a place within it.

    Raises:
        InputError: the path is not UTF-8, so neither database can open it.
        StoreError: it is too long, or in a folder that may not be entered.
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
    """Make a folder and its parents, unless they are there.

    Raises:
        StoreError: it cannot be made.
    """
    with _said(folder):
        make_folder(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably; OSError where that is impossible."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    fault("archive.make.before")
    folder.mkdir(exist_ok=True)
    fault("archive.make.between")
    sync_folder(folder.parent)
    fault("archive.make.after")


def sync_folder(folder: Path) -> None:
    """fsync of a folder: makes the names in it durable. On Windows, which has none, the file system sees to that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path, permit: Permit = nullcontext) -> None:
    """Delete a file, if it is there and with the `permit`.

    Raises:
        StoreError: it cannot be deleted.
    """
    with _said(path):
        fault("archive.remove.before")
        with permit():
            path.unlink(missing_ok=True)
        fault("archive.remove.after")


def rename(path: Path, target: Path, permit: Permit = nullcontext) -> Path:
    """Rename a file durably, with the `permit`; returns its new path.

    Raises:
        StoreError: it cannot be renamed.
    """
    with _said(path):
        fault("archive.aside.before")
        with permit():
            path.replace(target)
        fault("archive.aside.between")
        sync_folder(path.parent)
        fault("archive.aside.after")
    return target


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """Failures of the disk as `StoreError` with the path and what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(explain(error, path)) from error


def explain(error: OSError, path: Path, what: str = "write") -> str:
    """What could not be done, where, and what to do, for an error of the operating system."""
    match error.errno:
        case errno.ENAMETOOLONG:
            remedy = "choose a place with a shorter path"
        case errno.EACCES | errno.EPERM if what == "reach":
            remedy = "this account may not enter the folder; have its owner allow that, or choose another place"
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            remedy = "there is no room left; free some, then run the same command again: it goes on where it stopped"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            remedy = "the folder is not writable; change its permissions or choose another with --store FOLDER"
        case errno.ENOTDIR | errno.EEXIST | errno.ENOENT:
            remedy = "a store is a folder; something else is in its place; choose another with --store FOLDER"
        case _:
            remedy = "the disk failed; nothing half-written was kept; run the same command again"
    return f"cannot {what} {path}: {error.strerror or error}; {remedy}"
