"""A catalog that another process holds, and archive files that are lost or cut short: the same command resumes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from circuitstore.errors import StoreBusy
from circuitstore.store import create_store, open_store, sqlite

from ..waiting import LONG_S
from .conftest import World

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def assert_equals_undisturbed(folder: Path, world: World) -> None:
    with open_store(folder) as store:
        assert len(store.verify()) == 0, str(store.verify())
        assert set(store.circuits("run")["id"]) == {r.id for r in world.records}
        assert store.graph.present() == {r.id: r.sha256 for r in world.records}
        assert {id: store.discovery(id).sha256 for id in store.archive.ids("discovery")} == {
            d.id: d.sha256 for d in world.discoveries
        }


def test_a_catalog_that_another_process_holds_for_too_long(
    folder: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a run: the run ends with an error that names it, and resumes when the other has released it."""
    with create_store(folder) as store, store.writer() as writer:
        world.start(writer)
        writer.put(world.discoveries[0], run="run")
        command = [sys.executable, "-c", HOLD, str(folder / "catalog.sqlite")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            monkeypatch.setattr(sqlite, "BUSY_S", 0.2)
            with pytest.raises(StoreBusy, match=r"locked.*try again when that has ended"):
                world.fill(writer)
            monkeypatch.undo()
            other.communicate("", timeout=LONG_S)
    with create_store(folder) as store, store.writer() as writer:
        world.fill(writer)
    assert_equals_undisturbed(folder, world)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HARM: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut short": cut,
}


@pytest.mark.parametrize("kind", ["discovery", "circuit"])
@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_the_archive_lost_is_computed_again_by_the_next_run(
    filled: Path, world: World, kind: str, harm: str
) -> None:
    with open_store(filled) as store:
        path = (
            store.archive.path("discovery", world.discoveries[1].id)
            if kind == "discovery"
            else store.archive.path("circuit", world.records[1].id)
        )
        HARM[harm](path)
        with store.writer() as writer:
            world.fill(writer)
            assert any("computes it again" in notice for notice in writer.notices)
    assert_equals_undisturbed(filled, world)
