from __future__ import annotations

import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from circuitstore.errors import InputError, StoreDamaged
from circuitstore.store import CIRCUIT, Store, answers, open_store, projection, rebuild_store, rebuilding
from circuitstore.store.archive import Archive
from circuitstore.store.kinds import KINDS, StoredKind
from circuitstore.testing.factories import make_item

from ..waiting import LONG_S


def counts(table: Any) -> list[int]:
    return list(table.to_pandas()["count"])


def everything(store: Store) -> tuple[set[str], ...]:
    """Ids in graph, catalog and archive."""
    shown = set(store.graph.present())
    return shown, set(store.circuits()["id"]), *(set(store.archive.ids(kind)) for kind in KINDS)


def test_what_a_run_refers_to_is_kept(filled: Path, world: Any) -> None:
    with open_store(filled) as store, store.writer() as writer:
        before = everything(store)
        assert counts(writer.gc()) == [0, 0, 0, 0, 0, 0, 0, 0, 0]
        assert everything(store) == before


def test_deleting_a_run_removes_references_and_gc_the_rest(filled: Path, world: Any) -> None:
    with open_store(filled) as store, store.writer() as writer:
        writer.delete_run("run")
        assert len(store.runs()) == 0 and len(store.circuits()) == 6
        assert counts(writer.gc()) == [6, 3, 12, 6, 0, 0, 0, 0, 21]
        assert everything(store) == (set(),) * 9
        assert len(store.items()) == 0 and len(store.verify()) == 0
        world.fill(writer)
        writer.flush()
        assert len(store.verify()) == 0 and len(store.circuits()) == 6


def test_what_another_run_refers_to_is_kept(filled: Path, world: Any) -> None:
    discovery, record = world.discoveries[0], world.records[0]
    with open_store(filled) as store, store.writer() as writer:
        writer.start_run("second", "", [discovery.item], [(discovery.id, record.extraction)])
        writer.delete_run("run")
        assert counts(writer.gc()) == [5, 2, 9, 5, 0, 0, 0, 0, 16]
        kept = {discovery.id}, set(record.responses.values()), {record.id}
        assert everything(store) == ({record.id}, {record.id}, *kept, set(), set(), set(), set())
        assert len(store.verify()) == 0


def test_gc_keeps_files_that_nobody_lists(filled: Path, world: Any) -> None:
    """All that is left of a lost catalog looks like that."""
    record = world.records[0]
    with open_store(filled) as store, store.writer() as writer:
        with writer.catalog.writing() as connection:
            answers.forget(connection, CIRCUIT, [record.id])
        assert counts(writer.gc()) == [1, 0, 0, 0, 0, 0, 0, 0, 0]
        assert "1 archive files are not in the catalog" in writer.notices[-1]
        assert [(row["kind"], row["id"]) for row in store.verify()] == [("orphan file", record.id)]
        writer.rebuild()
        assert len(store.verify()) == 0 and record.id in store.graph.present()


def test_a_collection_that_was_killed_is_finished_by_the_next_writer(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        with store.writer() as writer:
            writer.delete_run("run")
            values = {"circuit": world.records, "discovery": world.discoveries, "response": world.responses}
            ids = {name: [value.id for value in some] for name, some in values.items()}
            store.archive.announce_removal(ids)
            with writer.catalog.writing() as connection:  # killed half-way
                answers.forget(connection, CIRCUIT, ids["circuit"][1:])
        with store.writer() as writer:
            assert list(store.archive.ids("circuit")) == [world.records[0].id]
            assert len(list(store.archive.ids("discovery"))) == 3
            assert counts(writer.gc())[-1] == 16
            assert everything(store) == (set(),) * 9


def test_progress_goes_with_its_item_or_its_answer(filled: Path, world: Any) -> None:
    asked = make_item(99)
    with open_store(filled) as store, store.writer() as writer:
        writer.start_run("second", "", [asked], [])
        kept, *others = (store.archive.journal(id) for id in (asked.id, world.discoveries[0].id, "f" * 64))
        kept.parent.mkdir()
        for path in (kept, *others, kept.with_name("stray")):
            path.write_bytes(b"progress")
        assert counts(writer.gc()) == [0, 0, 0, 0, 0, 0, 0, 0, 3]
        assert list(kept.parent.iterdir()) == [kept]
        writer.delete_run("second")
        assert counts(writer.gc()) == [0, 0, 0, 0, 0, 0, 0, 0, 1]
        assert not kept.exists()


def test_groups_are_bounded_by_circuits_and_by_edges() -> None:
    def shape(*sizes: int) -> list[int]:
        return [len(g) for g in projection.batches({str(i): size for i, size in enumerate(sizes)})]

    half = projection.EDGES // 2
    assert shape(*[1] * (projection.REFILL + 1)) == [projection.REFILL, 1]
    assert shape(half, half, 1, 9 * half, 1) == [2, 1, 1, 1]
    assert shape() == []


def test_a_run_that_is_not_there(filled: Path) -> None:
    with open_store(filled) as store, store.writer() as writer, pytest.raises(InputError, match="did you mean 'run'"):
        writer.delete_run("ran")


def test_ctrl_c_does_not_wait_for_files_that_nobody_has_begun_to_check(
    filled: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, left, check = [], threading.Event(), rebuilding._row

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            left.set()
            super().shutdown(wait=wait)

    def checked(archive: Archive, kind: StoredKind[Any], id: str) -> rebuilding.Row | StoreDamaged:
        begun.append(id)
        if len(begun) == 1:
            signal.raise_signal(signal.SIGINT)
        else:
            left.wait(LONG_S)
        return check(archive, kind, id)

    monkeypatch.setattr(rebuilding, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(rebuilding, "_row", checked)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with open_store(filled) as store:
        with pytest.raises(KeyboardInterrupt), store.writer() as writer:
            writer.rebuild()
        assert len(begun) < len(world.discoveries)


def test_rebuilding_a_sound_store_changes_nothing_but_the_graph(filled: Path, world: Any) -> None:
    with open_store(filled) as store, store.writer() as writer:
        before = store.circuits(), store.runs(), store.items(), everything(store)
        assert counts(writer.rebuild()) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 6]
        after = store.circuits(), store.runs(), store.items(), everything(store)
        assert all(a.equals(b) for a, b in zip(before[:3], after[:3], strict=True)) and before[3] == after[3]
        assert len(store.verify()) == 0


def test_what_no_run_knows_is_kept_from_gc_until_its_run_is_deleted(filled: Path, world: Any) -> None:
    for file in filled.glob("catalog.sqlite*"):
        file.unlink()
    shutil.rmtree(filled / "archive" / "runs")
    assert counts(rebuild_store(filled))[:3] == [3, 12, 6]
    with open_store(filled) as store, store.writer() as writer:
        assert list(store.runs()["run"]) == ["recovered"]
        assert counts(writer.gc()) == [0, 0, 0, 0, 0, 0, 0, 0, 0]
        world.start(writer)
        assert writer.pending("run") == []
        writer.delete_run("recovered")
        assert counts(writer.gc()) == [0, 0, 0, 0, 0, 0, 0, 0, 0]
        assert len(store.verify()) == 0
