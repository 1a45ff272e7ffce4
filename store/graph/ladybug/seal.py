"""The checksum of a database file between two writers.

The engine has no checksums: it reads pages that the disk has altered and may return wrong answers. The checksum is
the note in the lock file. A writer replaces it when it takes the lock, so while a file is written, and after its writer
was killed, there is no checksum and the file is not checked.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def seal_of(path: Path) -> str:
    """Return the note with the checksum of a file that is not being written."""
    with path.open("rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"


def is_intact(path: Path, note: str) -> bool:
    """Return whether a file matches the checksum in a note; true if the note has none or the file does not exist."""
    if not re.fullmatch("sha256 [0-9a-f]{64}", note) or not path.exists():
        return True
    return seal_of(path) == note
