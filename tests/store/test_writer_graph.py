"""Circuits on their way into the graph, and a graph that lacks some."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from circuitstore.store import create_store, open_store, projection
from circuitstore.store.graph import open_graph

from ..waiting import LONG_S, until


def test_who_puts_more_than_two_groups_waits_for_one(folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "GROUP", 2)
    monkeypatch.setattr(projection, "TICK_S", 3600.0)
    with create_store(folder) as store, store.writer() as writer:
        shown = []
        for record in world.records:
            writer.put(record, run="run")
            shown.append(len(writer.graph.present()))
        assert shown == [0, 0, 0, 2, 2, 4]
        writer.flush()
        assert writer.graph.present() == {r.id: r.sha256 for r in world.records}


def test_nobody_waits_for_a_group_on_its_way(folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "GROUP", 3)
    monkeypatch.setattr(projection, "TICK_S", 0.02)
    begun, go = threading.Event(), threading.Event()
    with create_store(folder) as store, store.writer() as writer:
        put = writer.graph.put

        def slow(*group: Any) -> None:
            begun.set()
            assert go.wait(LONG_S)
            put(*group)

        monkeypatch.setattr(writer.graph, "put", slow)
        for record in world.records[:3]:
            writer.put(record, run="run")
        assert begun.wait(LONG_S)
        writer.put(world.records[3], run="run")
        assert len(writer.graph.present()) == 0
        go.set()
        writer.flush()
        assert writer.graph.present() == {r.id: r.sha256 for r in world.records[:4]}


def test_no_circuit_waits_long_for_others(folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "GROUP_S", 0.1)
    with create_store(folder) as store, store.writer() as writer:
        writer.put(world.records[0], run="run")
        until(lambda: len(writer.graph.present()) == 1)


def test_a_circuit_waits_for_others_the_longer_the_last_group_took(
    folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TICK_S": 0.02, "GROUP_S": 0.0, "PATIENCE": 1e6, "LONGEST_S": 1e6}.items():
        monkeypatch.setattr(projection, name, value)
    with create_store(folder) as store, store.writer() as writer:
        writer.put(world.records[0], run="run")  # no group went before
        until(lambda: len(writer.graph.present()) == 1 and not writer._projection._queue)
        writer.put(world.records[1], run="run")
        assert not writer._projection._is_due()
        monkeypatch.setattr(projection, "LONGEST_S", 0.0)
        until(lambda: len(writer.graph.present()) == 2)


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
