"""A disk without room, under the whole store or one part of it: one message reports it, and the next run resumes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from circuitstore.errors import StoreError
from circuitstore.store import create_store, open_store

from ..postgres_server import OwnServer, PostgresServer
from ..waiting import LONG_S
from .conftest import World


@contextmanager
def mounted(disk: Path, size: str) -> Iterator[Path]:
    """A small file system."""
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "24m") as disk:
        yield disk


@pytest.fixture(params=["600k", "1200k", "1900k"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Too small for the graph: its schema, its lease or its circuits find no room."""
    with mounted(tmp_path / "disk", request.param) as disk:
        yield disk


@pytest.fixture
def served(postgres_server: PostgresServer) -> Iterator[tuple[str, Path]]:
    """URL of an empty database of a server, and the small file system that its tables are on."""
    if not isinstance(postgres_server, OwnServer):
        pytest.skip("the server that CIRCUITSTORE_TEST_POSTGRES names keeps its tables where it will")
    with mounted(postgres_server.folder / "disk", "24m") as disk:
        tables = disk / "tables"
        tables.mkdir()
        os.chown(tables, postgres_server.folder.stat().st_uid, -1)
        postgres_server.ask(f"CREATE TABLESPACE small LOCATION '{tables}'")
        with postgres_server.database("TEMPLATE template0 ENCODING 'UTF8' TABLESPACE small") as url:
            yield url, disk
        postgres_server.ask("DROP TABLESPACE small")


def fill_up(disk: Path, spare: int = 0) -> Path:
    """Leave room for so many blocks of 4 KiB; gives back the file that takes the rest."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
        file.truncate(max(0, ballast.stat().st_size - 4096 * spare))
    return ballast


def fill(where: dict[str, Any], world: World) -> str:
    """What a run says that may meet a full disk."""
    try:
        with create_store(**where) as store, store.writer() as writer:
            world.fill(writer)
            writer.rebuild()
    except StoreError as error:
        return str(error)
    return "there was room for all"


def goes_on(where: dict[str, Any], world: World) -> None:
    """Now that there is room, nothing is in the way of the rest, and nothing is missing in the end."""
    with create_store(**where) as store:
        assert not store.archive.leftovers()
        with store.writer() as writer:
            world.fill(writer)
        assert len(store.verify()) == 0 and len(store.circuits()) == 6


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


@pytest.mark.parametrize("part", ["archive", "catalog", "graph"])
def test_a_part_whose_disk_is_full_is_named_and_the_run_goes_on_when_there_is_room(
    disk: Path, tmp_path: Path, world: World, part: str
) -> None:
    home = {name: disk if name == part else tmp_path for name in ("archive", "catalog", "graph")}
    where = {
        "location": home["archive"] / "data",
        "catalog": f"sqlite:///{home['catalog']}/catalog.sqlite",
        "graph": f"ladybug://{home['graph']}/graph.lbdb",
    }
    with create_store(**where) as store, store.writer() as writer:
        world.start(writer)
        writer.put(world.discoveries[0], run="run")
    ballast = fill_up(disk)
    said = in_a_process_of_its_own(fill, where, world)
    assert re.search("room|full|space", said) and str(disk) in said, said
    ballast.unlink()
    goes_on(where, world)


def test_a_full_disk_of_the_catalogs_server_is_reported_and_the_run_goes_on_when_there_is_room(
    served: tuple[str, Path], tmp_path: Path, world: World
) -> None:
    catalog, disk = served
    where = {"location": tmp_path / "data", "catalog": catalog}
    with create_store(**where) as store, store.writer() as writer:
        world.start(writer)
        writer.put(world.discoveries[0], run="run")
    ballast = fill_up(disk)
    said = fill(where, world)
    assert re.search(r"No space left.*make room on the server's disk.*same command", said), said
    with open_store(**where) as store:  # what is stored stays, nothing of the rest, and it can be read
        assert (len(store.items()), len(store.circuits()), store.writing_process()) == (3, 0, None)
    ballast.unlink()
    goes_on(where, world)


@pytest.mark.parametrize("spare", [0, 20, 40, 120])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(disk: Path, world: World, spare: int) -> None:
    """With so many blocks of 4 KiB to spare, the archive, the catalog or the graph finds no room first."""
    where = {"location": disk / "data"}
    with create_store(**where) as store, store.writer() as writer:
        world.start(writer)
        writer.put(world.discoveries[0], run="run")
    ballast = fill_up(disk, spare)
    said = in_a_process_of_its_own(fill, where, world)
    assert re.search("room on|room left|full|space" if spare < 100 else "", said)
    ballast.unlink()
    goes_on(where, world)


def test_a_full_disk_is_one_message_to_the_end_of_the_process(small_disk: Path, kept: Path) -> None:
    store = shutil.copytree(kept, small_disk / "data", ignore=shutil.ignore_patterns("graph*"))
    command = [sys.executable, "-m", "circuitstore.cli", "rebuild", "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)
    assert done.returncode == 2, done.stderr
    assert "room" in done.stderr and "error: " in done.stderr.splitlines()[-1]
    assert "terminate" not in done.stderr and "xception" not in done.stderr
