from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.circuits import CircuitRecord, Discovery, Extraction
from circuitstore.errors import InputError, StoreBusy, StoreError
from circuitstore.store import Store, archive, create_store, keeper, ledger, open_store, sqlite
from circuitstore.store import writer as module
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.ladybug import LadybugGraph
from circuitstore.store.lease import Owner, now_ms

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
        process.communicate(timeout=30)


def hold(store: Store, owner: str, for_s: float = 60) -> None:
    """Write somebody's lease into the catalog, as a process of theirs would have done."""
    with module.Catalog(store.location.catalog, read_only=False).writing() as connection:
        ledger.claim(connection, owner, now_ms() + int(1000 * for_s))


def soon(true: Callable[[], bool], within_s: float = 10) -> bool:
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def other_bytes(discovery: Discovery) -> Discovery:
    """The same question, answered by other arithmetic."""
    assert discovery.scores is not None
    return replace(discovery, scores=replace(discovery.scores, mean=np.nextafter(discovery.scores.mean, np.float32(9))))


# --- runs and items ----------------------------------------------------------------------------------


def test_a_run_from_its_start_to_its_end(folder: Path, catalog_url: str, world: Any) -> None:
    with create_store(folder, catalog=catalog_url) as store:
        with store.writer() as writer:
            world.start(writer)
            assert [i.id for i in writer.pending("run")] == [i.id for i in world.items]
            assert list(store.runs()[["circuits", "circuits_wanted"]].itertuples(index=False)) == [(0, 6)]
            world.fill(writer)
            assert writer.pending("run") == []
            assert list(store.runs()[["circuits", "circuits_wanted"]].itertuples(index=False)) == [(6, 6)]
            assert writer.notices == ()
        assert len(store.verify()) == 0


def test_starting_again_changes_nothing_and_a_changed_spec_adds(filled: Path, world: Any) -> None:
    with open_store(filled) as store, store.writer() as writer:
        before = store.runs()
        world.start(writer)
        assert store.runs().equals(before) and writer.pending("run") == []
        discovery, record = world.discoveries[0], world.records[0]
        new = replace(discovery.item, recipe=replace(discovery.item.recipe, seed=7))
        writer.start_run("run", "changed", [new, *world.items], [(new.id, record.extraction)])
        assert writer.pending("run") == [new]
        assert list(store.runs()[["spec", "circuits_wanted"]].itertuples(index=False)) == [("changed", 7)]
        assert len(store.items("run")) == 4


def test_an_item_is_pending_until_its_circuits_are_stored(folder: Path, catalog_url: str, world: Any) -> None:
    discovery, record = world.discoveries[0], world.records[0]
    with create_store(folder, catalog=catalog_url) as store, store.writer() as writer:
        writer.start_run("run", "", [discovery.item], [(discovery.id, record.extraction)])
        writer.put_discovery(discovery, "run")
        assert writer.has_discovery(discovery.id) and not writer.has_circuit(record.id)
        assert writer.pending("run") == [discovery.item]
        writer.put_circuit(record, "run")
        assert writer.has_circuit(record.id) and writer.pending("run") == []


def test_failed_items_are_asked_again_on_request(folder: Path, catalog_url: str, world: Any) -> None:
    first, second = world.items[:2]
    with create_store(folder, catalog=catalog_url) as store, store.writer() as writer:
        writer.start_run("run", "", [first, second], world.wanted[:4])
        writer.put_discovery(world.discoveries[1], "run")
        for item in (first, second):
            writer.lease_item(item.id)
            writer.fail(item.id, f"no images of {item.target_class.name}")
        assert writer.failures("run") == {i.id: f"no images of {i.target_class.name}" for i in (first, second)}
        assert writer.pending("run") == []
        assert list(store.items(state="failed")["attempts"]) == [1, 1]
        assert writer.retry_failed("run") == 2
        assert writer.pending("run") == [first, second] and writer.failures("run") == {}
        assert dict(store.items()[["id", "state"]].itertuples(index=False)) == {first.id: "wanted", second.id: "done"}
        with pytest.raises(InputError, match="no item nothing"):
            writer.fail("nothing", "")


def test_extractions_that_are_equal_and_not_the_same_are_both_wanted(
    folder: Path, catalog_url: str, world: Any
) -> None:
    item = world.items[0]
    with create_store(folder, catalog=catalog_url) as store, store.writer() as writer:
        writer.start_run("run", "", [item], [(item.id, Extraction.of("top", {"n": n})) for n in (1, 1.0, 1)])
        assert list(store.runs()["circuits_wanted"]) == [2]


def test_items_that_a_dead_writer_was_at_are_free(folder: Path, catalog_url: str, world: Any) -> None:
    with create_store(folder, catalog=catalog_url) as store:
        with store.writer() as writer:
            world.start(writer)
            writer.lease_item(world.items[0].id)
        assert len(store.items(state="leased")) == 1
        with store.writer():
            assert len(store.items(state="leased")) == 0


# --- discoveries and circuits ------------------------------------------------------------------------


def test_putting_twice_is_as_good_as_once(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        before = store.circuits(), store.items(), store.runs()
        with store.writer() as writer:
            for discovery in world.discoveries:
                writer.put_discovery(discovery, "run")
            for record in world.records:
                writer.put_circuit(record, "run")
            assert writer.notices == ()
        assert all(a.equals(b) for a, b in zip(before, (store.circuits(), store.items(), store.runs()), strict=True))
        assert len(store.verify()) == 0


def test_the_first_answer_wins(filled: Path, world: Any) -> None:
    discovery, record = world.discoveries[0], world.records[0]
    with open_store(filled) as store:
        with store.writer() as writer:
            writer.put_discovery(other_bytes(discovery), "run")
            writer.put_circuit(replace(record, n_images=99), "run")
            assert len(writer.notices) == 2 and all("first result was kept" in n for n in writer.notices)
        assert store.discovery(discovery.id).sha256 == discovery.sha256
        assert store.circuit(record.id).n_images == record.n_images
        assert len(store.verify()) == 0


def test_several_runs_share_circuits(filled: Path, world: Any) -> None:
    with open_store(filled) as store, store.writer() as writer:
        world.fill(writer, "second")
        assert list(store.runs()["circuits"]) == [6, 6] and len(store.circuits()) == 6
        assert store.circuits("second").equals(store.circuits("run"))


def test_results_that_the_catalog_does_not_list_are_taken_up(folder: Path, catalog_url: str, world: Any) -> None:
    """A kill between the renaming of a file and the catalog's transaction leaves such files."""
    with create_store(folder, catalog=catalog_url) as store:
        for value in (world.discoveries[0], world.records[0]):
            store.archive.write(value, 17)
        store.archive.write(world.discoveries[1], 17)
        damaged = store.archive.path("discovery", world.discoveries[1].id)
        damaged.write_bytes(damaged.read_bytes()[:100])
        with store.writer() as writer:
            world.start(writer)
            assert writer.has_discovery(world.discoveries[0].id) and writer.has_circuit(world.records[0].id)
            assert not writer.has_discovery(world.discoveries[1].id)
            assert "set aside" in writer.notices[0] and "2 results" in writer.notices[1]
            world.fill(writer)
        assert store.circuits(id=world.records[0].id)["created_ms"].item() == 17
        assert len(store.verify()) == 0


def unpruned(record: CircuitRecord) -> CircuitRecord:
    """The circuit with all edges into one node more, which is on no path to the logits."""
    graph, circuit = record.circuit.graph, record.circuit
    for edge in np.flatnonzero(~circuit.members):
        members = circuit.members.copy()
        members[edge] = True
        if not np.array_equal(graph.prune(members), members):
            return replace(record, circuit=replace(circuit, members=members, order=np.append(circuit.order, edge)))
    raise AssertionError("any edge may join")


def test_a_circuit_that_is_not_pruned_is_refused_and_nothing_is_written(folder: Path, world: Any) -> None:
    record = unpruned(world.records[0])
    with create_store(folder) as store:
        with store.writer() as writer:
            with pytest.raises(InputError, match=r"edge .* is on no path from input to logits"):
                writer.put_circuit(record, "run")
            writer.put_circuit(world.records[1], "run")
        assert list(store.archive.ids("circuit")) == list(store.graph.present()) == [world.records[1].id]
        assert len(store.verify()) == 0


def test_a_stored_circuit_that_is_not_pruned_is_set_aside(
    filled: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program before this one could have stored it."""
    record = unpruned(world.records[0])
    with open_store(filled) as store:
        with monkeypatch.context() as patch, store.writer() as writer:
            patch.setattr(archive, "_astray", lambda _: None)
            writer.graph.remove([record.id])
            store.archive.remove("circuit", record.id)
            store.archive.write(record, 17)
        with store.writer() as writer:
            assert any("is on no path" in n and "set aside" in n for n in writer.notices)
            assert writer.pending("run") == [record.item]
            world.fill(writer)
        assert len(store.verify()) == 0


@pytest.mark.parametrize("queued", [True, False])
def test_a_damaged_circuit_is_computed_anew_with_other_bytes(
    folder: Path, catalog_url: str, world: Any, queued: bool
) -> None:
    record = world.records[0]
    again = replace(record, n_images=99)
    with create_store(folder, catalog=catalog_url) as store:
        with store.writer() as writer:
            writer.put_circuit(record, "run")
            if not queued:
                writer.flush()
            store.archive.path("circuit", record.id).write_bytes(b"PAR1")
            writer.put_circuit(again, "run")
            writer.flush()
            assert writer.graph.present() == {record.id: again.sha256}
        assert len(store.verify()) == 0


# --- the graph ---------------------------------------------------------------------------------------


def test_circuits_are_projected_in_groups(folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP", 4)
    with create_store(folder) as store, store.writer() as writer:
        shown = []
        for record in world.records:
            writer.put_circuit(record, "run")
            shown.append(len(writer.graph.present()))
        assert shown == [0, 0, 0, 4, 4, 4]
        writer.flush()
        assert writer.graph.present() == {r.id: r.sha256 for r in world.records}


def test_no_circuit_waits_long_for_others(folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_S", 0.1)
    with create_store(folder) as store, store.writer() as writer:
        writer.put_circuit(world.records[0], "run")
        assert soon(lambda: len(writer.graph.present()) == 1)


@pytest.mark.parametrize("harm", ["lost", "emptied", "older", "truncated"])
def test_a_harmed_graph_is_noticed_and_filled(filled: Path, world: Any, tmp_path: Path, harm: str) -> None:
    graph = filled / "graph.lbdb"
    with open_store(filled) as store:
        if harm == "lost":
            graph.unlink()
        elif harm == "truncated":
            graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
        else:
            with open_graph(store.location.graph, store_id=store.id) as opened:
                ids = [r.id for r in world.records]
                opened.remove(ids if harm == "emptied" else ids[:2])
        with store.writer() as writer:
            missing = 2 if harm == "older" else 6
            assert f"lacked {missing} of 6 circuits" in writer.notices[-1]
        assert len(store.verify()) == 0


def test_a_circuit_of_another_checksum_in_the_graph_is_put_right(filled: Path, world: Any) -> None:
    record = world.records[0]
    with open_store(filled) as store:
        with open_graph(store.location.graph, store_id=store.id) as graph:
            graph.remove([record.id])
            graph.put([replace(record, n_images=99)], {record.id: 17})
        with store.writer():
            pass
        assert len(store.verify()) == 0


def test_a_damaged_file_does_not_keep_the_graph_from_being_filled(filled: Path, world: Any) -> None:
    (filled / "graph.lbdb").unlink()
    record = world.records[0]
    with open_store(filled) as store:
        store.archive.path("circuit", record.id).write_bytes(b"")
        with store.writer() as writer:
            assert len(writer.graph.present()) == 5
            assert any("set aside" in n for n in writer.notices)
            assert writer.pending("run") == [record.item]
            world.fill(writer)
        assert len(store.verify()) == 0


# --- the lease ---------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_by_name_or_waits(filled: Path) -> None:
    with open_store(filled) as store:
        with another_writer(filled) as process:
            assert str(process.pid) in str(store.writing_process())
            with pytest.raises(StoreBusy, match=rf"written by process {process.pid} on host .*wait for it or stop it"):
                store.writer().__enter__()
            assert len(store.circuits()) == 6
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
            with store.writer(wait_s=30):
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


def test_a_lease_that_ran_out_is_taken_again_if_nobody_has_it(filled: Path, world: Any) -> None:
    """As after a minute without the catalog, in which another writer came, found the graph in use, and left."""
    with open_store(filled) as store, store.writer() as writer:
        with module.Catalog(store.location.catalog, read_only=False).writing() as connection:
            ledger.release(connection, writer.owner)
        writer.fail(world.items[0].id, "no images")
        assert store.writing_process() == writer.owner


def test_the_lease_is_renewed_while_the_graph_is_busy(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RENEW_S", 0.05)

    def ends() -> int:
        with store.catalog.reading() as connection:
            held = ledger.holder(connection)
        return 0 if held is None else held[1]

    with open_store(filled) as store, store.writer() as writer:
        assert isinstance(writer.graph, LadybugGraph)
        with writer.graph._turn():  # as a bulk load holds it
            for _ in range(3):
                before = ends()
                assert soon(lambda before=before: ends() > before, within_s=2)


def test_a_locked_catalog_does_not_end_the_writer(filled: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RENEW_S", 0.05)
    monkeypatch.setattr(keeper, "RETRY_S", 0.05)
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    with open_store(filled) as store, store.writer() as writer:
        with module.Catalog(store.location.catalog, read_only=False).writing():  # as a backup holds it
            time.sleep(0.8)
        monkeypatch.setattr(sqlite, "BUSY_S", 10.0)
        world.fill(writer, "second")


def test_an_error_in_a_thread_of_the_writer_is_told(folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_S", 0.0)
    with create_store(folder) as store:
        with pytest.raises(StoreError, match=r"TypeError.*run the same command again"), store.writer() as writer:
            writer._queue["id"] = world.records[0]  # not a pair: any bug would do
            assert soon(lambda: writer._keeper._broken is not None)
            writer.fail("id", "")
        assert store.writing_process() is None


def test_the_lease_of_a_killed_process_is_taken_over_at_once(filled: Path, world: Any) -> None:
    with another_writer(filled) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        began = time.monotonic()
        with open_store(filled) as store, store.writer() as writer:
            world.fill(writer)
        assert time.monotonic() - began < 10


def test_a_lease_of_another_host_holds_until_it_ends(filled: Path) -> None:
    with open_store(filled) as store:
        theirs = replace(Owner.new(), host="elsewhere").text
        hold(store, theirs)
        with pytest.raises(StoreBusy, match="on host elsewhere"):
            store.writer().__enter__()
        with pytest.raises(StoreBusy, match="on host elsewhere"):
            store.writer(wait_s=0.3).__enter__()
        with module.Catalog(store.location.catalog, read_only=False).writing() as connection:
            ledger.release(connection, theirs)
        hold(store, theirs, for_s=-1)
        assert store.writing_process() is None
        with store.writer():
            pass


def test_the_lease_is_renewed_in_catalog_and_graph(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RENEW_S", 0.1)

    def ends() -> tuple[int, int]:
        with store.catalog.reading() as connection:
            held = ledger.holder(connection)
        lease = writer.graph.lease()
        assert held is not None and lease is not None and held[0] == lease.owner == writer.owner
        return held[1], lease.until_ms

    with open_store(filled) as store, store.writer() as writer:
        before = ends()
        assert soon(lambda: ends()[0] > before[0] and ends()[1] > before[1])
        with open_store(filled) as reader:
            assert reader.writing_process() == writer.owner


def test_a_writer_that_lost_its_lease_writes_no_more(filled: Path, world: Any) -> None:
    theirs = replace(Owner.new(), host="elsewhere").text
    lost = pytest.raises(StoreBusy, match=r"was lost.*on host elsewhere .*took over")
    with open_store(filled) as store, lost, store.writer() as writer:
        with module.Catalog(store.location.catalog, read_only=False).writing() as connection:
            ledger.release(connection, writer.owner)
        hold(store, theirs)
        writer.fail(world.items[0].id, "too late")
    with open_store(filled) as store:
        assert store.writing_process() == theirs
        assert len(store.items(state="failed")) == 0


def test_an_error_in_between_gives_the_lease_back_and_keeps_what_was_put(folder: Path, world: Any) -> None:
    with create_store(folder) as store:
        with pytest.raises(ZeroDivisionError), store.writer() as writer:
            writer.put_circuit(world.records[0], "run")
            raise ZeroDivisionError
        assert store.writing_process() is None
        assert len(store.query("MATCH (c:Circuit) RETURN c.id")) == 1


def test_a_closed_writer_and_a_forked_one_refuse(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        with store.writer() as writer:
            child = os.fork()
            if child == 0:
                try:
                    writer.put_discovery(world.discoveries[0], "run")
                except StoreError as error:
                    writer.close()  # the parent's lease is not given back
                    os._exit(0 if "forked process" in str(error) else 1)
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            world.fill(writer, "second")
        with pytest.raises(StoreError, match="closed"):
            world.fill(writer, "third")


# --- no room -----------------------------------------------------------------------------------------


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
