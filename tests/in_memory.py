"""A place in memory for temporary files: the tests sync thousands of small files, and would wait for a disk each time.

No test needs a disk: what is killed is a process, and files in memory outlive it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 6 << 30
"""Bytes that must be free: three times what three workers need."""


def use(memory: Path = MEMORY, room: int = ROOM) -> None:
    """Put temporary files of this process, and of those it starts, there; not if `TMPDIR` names another folder."""
    if "TMPDIR" not in os.environ and fits(memory, room):
        os.environ["TMPDIR"] = str(memory)
        tempfile.tempdir = None  # looked up again


def fits(memory: Path, room: int) -> bool:
    """Whether there is such a folder with so much room, in which programs may be run: some tests install some."""
    if not os.access(memory, os.W_OK | os.X_OK) or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(memory).free >= room
