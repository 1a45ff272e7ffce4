"""Who may write: the lease in catalog and graph, its keeping and its loss."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from circuitstore.errors import StoreBusy, StoreDamaged, StoreError
from circuitstore.store import (
    CIRCUIT,
    Store,
    Writer,
    catalog_lease,
    create_store,
    lease_holder,
    open_store,
    projection,
    sqlite,
    tables,
)
from circuitstore.store import writer as module
from circuitstore.store.graph.ladybug.backend import LadybugGraph
from circuitstore.store.lease import Owner, now_ms
from circuitstore.store.runs import RunRequest

from ..waiting import LONG_S, until
from .conftest import make_world

LEASED = """
import sys
from circuitstore.store import open_store
with open_store(sys.argv[1]) as store, store.writer():
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LEASED, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.communicate(timeout=LONG_S)


def hold(store: Store, owner: str, for_s: float = 3600) -> None:
    """Write somebody's lease into the catalog, as a process of theirs would have done."""
    with module.Catalog(store.location.catalog, read_only=False).writing() as connection:
        catalog_lease.claim(connection, owner, now_ms() + int(1000 * for_s))


def test_a_second_writer_is_refused_by_name_or_waits(filled: Path) -> None:
    with open_store(filled) as store:
        with another_writer(filled) as process:
            assert str(process.pid) in str(store.writing_process())
            with pytest.raises(
                StoreBusy,
                match=rf"written by process {process.pid} on host .*wait for it .*or stop it",
            ):
                store.writer().__enter__()
            assert len(store.circuits()) == 6
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
            with store.writer(wait_s=LONG_S):
                assert str(os.getpid()) in str(store.writing_process())
        assert store.writing_process() is None


def test_a_second_writer_of_the_same_store_object_is_refused(filled: Path) -> None:
    with open_store(filled) as store, store.writer(), pytest.raises(StoreError, match="has a writer already"):
        store.writer().__enter__()


def test_a_second_store_object_does_not_harm_the_writer_of_the_first(filled: Path, world: Any) -> None:
    with open_store(filled) as first, first.writer() as writer:
        for wait_s in (0.0, 0.2):
            with open_store(filled) as second, pytest.raises(StoreBusy, match=f"written by process {os.getpid()}"):
                second.writer(wait_s).__enter__()
        assert first.writing_process() == writer.owner
        world.fill(writer, "second")
    with open_store(filled) as second, second.writer():
        assert len(second.runs()) == 2


def lapse(store: Store) -> None:
    """The lease has run out, as after a minute without the catalog."""
    with module.Catalog(store.location.catalog, read_only=False).writing() as connection:
        connection.execute(sa.update(tables.leases).values(until_ms=now_ms() - 1))


def take_over(store: Store) -> lease_holder.LeaseHolder:
    """The lease of another writer, taken as every writer does."""
    lapse(store)
    return lease_holder.LeaseHolder(module.Catalog(store.location.catalog, read_only=False), store.location.folder)


def test_a_lease_that_ran_out_and_that_nobody_took_goes_on(filled: Path, world: Any) -> None:
    with open_store(filled) as store, store.writer() as writer:
        lapse(store)
        assert store.writing_process() is None
        with writer._parts.lease_holder.permit():
            pass
        writer.fail(world.items[0].id, "no images")
        writer._parts.lease_holder._renew()
        assert store.writing_process() == writer.owner


def test_the_lease_is_renewed_while_the_graph_is_busy(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_holder, "RENEW_S", 0.05)

    def ends() -> int:
        with store.catalog.reading() as connection:
            held = catalog_lease.holder(connection)
        return 0 if held is None else held[1]

    with open_store(filled) as store, store.writer() as writer:
        assert isinstance(writer.graph, LadybugGraph)
        with writer.graph._turn(writes="put"):  # as a bulk load holds it
            for _ in range(3):
                before = ends()
                until(lambda before=before: ends() > before)


def test_a_locked_catalog_does_not_end_the_writer(
    filled: Path, world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "circuitstore")
    monkeypatch.setattr(lease_holder, "RENEW_S", 0.05)
    monkeypatch.setattr(lease_holder, "RETRY_S", 0.05)
    with open_store(filled) as store, store.writer() as writer:
        monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
        with closing(sqlite3.connect(filled / "catalog.sqlite", timeout=10)) as backup:
            backup.execute("BEGIN IMMEDIATE")
            until(lambda: sum("the writer will try again" in message for message in caplog.messages) > 1)
        monkeypatch.setattr(sqlite, "BUSY_S", LONG_S)
        world.fill(writer, "second")


def test_an_error_in_a_thread_of_the_writer_is_raised(
    folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "GROUP_S", 0.0)
    with create_store(folder) as store:
        with pytest.raises(StoreError, match=r"TypeError.*run the same command again"), store.writer() as writer:
            writer._projection._queue["id"] = world.records[0]  # not a pair: any bug would do
            until(lambda: writer._parts.lease_holder._broken is not None)
            writer.fail("id", "")
        assert store.writing_process() is None


def test_the_lease_of_a_killed_process_is_taken_over_at_once(filled: Path, world: Any) -> None:
    with another_writer(filled) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open_store(filled) as store, store.writer(wait_s=0) as writer:
            world.fill(writer)


def test_a_lease_of_another_host_holds_until_it_ends(filled: Path) -> None:
    with open_store(filled) as store:
        theirs = replace(Owner.new(), host="elsewhere").text
        hold(store, theirs)
        with pytest.raises(StoreBusy, match="on host elsewhere"):
            store.writer().__enter__()
        with pytest.raises(StoreBusy, match="on host elsewhere"):
            store.writer(wait_s=0.3).__enter__()
        with module.Catalog(store.location.catalog, read_only=False).writing() as connection:
            catalog_lease.release(connection, theirs)
        hold(store, theirs, for_s=-1)
        assert store.writing_process() is None
        with store.writer():
            pass


def test_the_lease_is_renewed_in_catalog_and_graph(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_holder, "RENEW_S", 0.1)

    def ends() -> tuple[int, int]:
        with store.catalog.reading() as connection:
            held = catalog_lease.holder(connection)
        lease = writer.graph.lease()
        assert held is not None and lease is not None and held[0] == lease.owner == writer.owner
        return held[1], lease.until_ms

    with open_store(filled) as store, store.writer() as writer:
        before = ends()
        until(lambda: ends()[0] > before[0] and ends()[1] > before[1])
        with open_store(filled) as reader:
            assert reader.writing_process() == writer.owner


NEW = make_world(4, (7,))
ACTS: dict[str, Callable[[Writer, Any], object]] = {
    "start_run": lambda writer, world: NEW.start(writer, "second"),
    "put a discovery": lambda writer, world: writer.put(NEW.discoveries[3], run="run"),
    "put a circuit": lambda writer, world: writer.put(NEW.records[3], run="run"),
    "adopt": lambda writer, world: writer.adopt(CIRCUIT, world.records[0].id),
    "fail": lambda writer, world: writer.fail(world.items[0].id, "too late"),
    "lease_item": lambda writer, world: writer.lease_item(world.items[0].id),
    "retry_failed": lambda writer, world: writer.retry_failed("run"),
    "delete_run": lambda writer, world: writer.delete_run("run"),
    "gc": lambda writer, world: writer.gc(),
    "rebuild": lambda writer, world: writer.rebuild(),
    "set_aside": lambda writer, world: writer.set_aside(CIRCUIT, world.records[0].id, StoreDamaged("too late")),
    "flush": lambda writer, world: writer.flush(),
    "archive.write": lambda writer, world: writer.archive.write(NEW.discoveries[3], 1),
    "archive.write_request": lambda writer, world: writer.archive.write_request(RunRequest("r", "", (), (), 1), "s"),
    "archive.remove": lambda writer, world: writer.archive.remove("circuit", world.records[0].id),
    "archive.set_aside": lambda writer, world: writer.archive.set_aside("circuit", world.records[0].id),
    "archive.announce_removal": lambda writer, world: writer.archive.announce_removal({"circuit": []}),
    "graph.put": lambda writer, world: writer.graph.put([NEW.records[3]], {NEW.records[3].id: 1}),
    "graph.remove": lambda writer, world: writer.graph.remove([world.records[0].id]),
    "graph.clear": lambda writer, world: writer.graph.clear(),
}
"""What a writer may be asked for, and the parts of a store that it hands out."""


def content(folder: Path) -> dict[str, Any]:
    """Return the contents of a store without the lease."""
    with open_store(folder) as store, store.catalog.reading() as connection:
        held = {t.name: connection.execute(sa.select(t)).all() for t in tables.metadata.sorted_tables}
        held.pop("leases")
        files = {str(p): p.read_bytes() for p in sorted((folder / "archive").rglob("*")) if p.is_file()}
        return held | {"files": files, "graph": store.graph.present()}


@pytest.mark.parametrize("held", [True, False], ids=["held by another", "free again"])
@pytest.mark.parametrize("act", ACTS)
def test_a_writer_that_lost_its_lease_changes_nothing_more(filled: Path, world: Any, act: str, held: bool) -> None:
    before = content(filled)
    with open_store(filled) as store:
        with pytest.raises(StoreBusy, match=r"was lost.*run the same command again") as lost, store.writer() as writer:
            if act == "flush":
                writer._projection.add(NEW.records[3], 1)
            other = take_over(store)
            if not held:
                other.release()
            ACTS[act](writer, world)
        assert ("took over and has ended" in str(lost.value)) is not held
        assert store.writing_process() == (other.owner if held else None)
    assert content(filled) == before
    if held:
        other.release()


def test_an_error_in_between_gives_the_lease_back_and_keeps_what_was_put(folder: Path, world: Any) -> None:
    with create_store(folder) as store:
        with pytest.raises(ZeroDivisionError), store.writer() as writer:
            writer.put(world.records[0], run="run")
            raise ZeroDivisionError
        assert store.writing_process() is None
        assert len(store.query("MATCH (c:Circuit) RETURN c.id")) == 1


def test_a_closed_writer_and_a_forked_one_refuse(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        with store.writer() as writer:
            child = os.fork()
            if child == 0:
                try:
                    writer.put(world.discoveries[0], run="run")
                except StoreError as error:
                    writer.close()  # the parent's lease is not given back
                    os._exit(0 if "forked process" in str(error) else 1)
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            world.fill(writer, "second")
        with pytest.raises(StoreError, match="closed"):
            world.fill(writer, "third")
