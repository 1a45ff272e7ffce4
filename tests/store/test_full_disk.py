"""A disk without room, met by the command line: one message, exit code 2, and no last words of the engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(params=["600k", "1200k", "1900k"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Too small for the graph: its schema, its lease or its circuits find no room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_one_message_to_the_end_of_the_process(small_disk: Path, kept: Path) -> None:
    store = shutil.copytree(kept, small_disk / "data", ignore=shutil.ignore_patterns("graph*"))
    command = [sys.executable, "-m", "circuitstore.cli", "rebuild", "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "room" in done.stderr and "error: " in done.stderr.splitlines()[-1]
    assert "terminate" not in done.stderr and "xception" not in done.stderr
