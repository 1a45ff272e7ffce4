"""The checksum of a database file, from when its last writer closed it until the next one opens it.

The engine has no checksums of its own: it reads a page that the disk has altered, and may answer wrongly. The checksum
is the note in the lock file beside the database, which a writer replaces as it takes the lock: so while a file is
written, and after its writer was killed, there is none, and the file is not checked.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def seal_of(path: Path) -> str:
    """The note that holds the checksum of a file that nobody writes."""
    with path.open("rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"


def is_intact(path: Path, note: str) -> bool:
    """Whether a file matches the checksum in a note; so does every file if there is none, and one that is gone."""
    if not re.fullmatch("sha256 [0-9a-f]{64}", note) or not path.exists():
        return True
    return seal_of(path) == note
