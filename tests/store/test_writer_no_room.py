"""A disk that is full, wherever the writer meets it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from circuitstore.errors import StoreError
from circuitstore.store import create_store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True)
    if not made or made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(folder: Path, world: Any) -> str:
    """What a run says that may meet a full disk."""
    try:
        with create_store(folder) as store, store.writer() as writer:
            world.fill(writer)
            writer.rebuild()
    except StoreError as error:
        return str(error)
    return "there was room for all"


def in_a_process_of_its_own(act: Callable[..., str], *arguments: Any) -> str:
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(say, act(*arguments).encode())
        finally:
            os._exit(0)
    os.close(say)
    os.waitpid(child, 0)
    with os.fdopen(said) as answer:
        return answer.read()


@pytest.mark.parametrize("spare", [0, 20, 40, 120])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(small_disk: Path, world: Any, spare: int) -> None:
    """With so many blocks of 4 KiB to spare, the archive, the catalog or the graph finds no room first."""
    folder, ballast = small_disk / "data", small_disk / "ballast"
    with create_store(folder) as store, store.writer() as writer:
        world.start(writer)
        writer.put_discovery(world.discoveries[0], "run")
    with ballast.open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
        file.truncate(max(0, ballast.stat().st_size - 4096 * spare))
    assert re.search(
        "room on|room left|full|space" if spare < 100 else "", in_a_process_of_its_own(fill, folder, world)
    )
    ballast.unlink()
    with create_store(folder) as store:
        assert not store.archive.leftovers()
        with store.writer() as writer:
            world.fill(writer)
        assert len(store.verify()) == 0 and len(store.circuits()) == 6
