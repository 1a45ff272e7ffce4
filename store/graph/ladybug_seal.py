"""The checksum of a database file, from when its last writer closed it until the next one opens it.

The engine has no checksums of its own: it reads a page that the disk has altered, and may answer wrongly. A file whose
writer was killed has no seal, and is not checked.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from ...errors import CircuitStoreError
from ...results import write_whole
from ..files import sync_folder
from ..lease import Permit

SUFFIX = ".sha256"


def seal_of(path: Path) -> Path:
    """The file that holds the checksum; it stands beside the database."""
    return path.with_name(path.name + SUFFIX)


def seal(path: Path) -> None:
    """Write the checksum of a file that nobody has open; the caller holds its lock, and perhaps no lease any more.

    Where it cannot be written the file stays unchecked.
    """
    with suppress(CircuitStoreError):
        write_whole(seal_of(path), _digest(path))


def unseal(path: Path, permit: Permit) -> None:
    """Delete the checksum, durably, before the file is changed."""
    if seal_of(path).exists():
        with permit():
            seal_of(path).unlink()
        sync_folder(path.parent)


def is_intact(path: Path) -> bool:
    """Whether a file matches its checksum; so does one that has none, or that a writer opens meanwhile."""
    expected = _written(path)
    if expected is None or not path.exists():
        return True
    return _digest(path) == expected or _written(path) != expected


def _written(path: Path) -> str | None:
    """The checksum, if there is a whole one."""
    with suppress(FileNotFoundError):
        text = seal_of(path).read_text(encoding="ascii", errors="replace")
        return text if re.fullmatch("[0-9a-f]{64}", text) else None
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
