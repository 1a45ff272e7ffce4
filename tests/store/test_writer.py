"""Runs, items, discoveries and circuits as a writer stores them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.circuits import Circuit, CircuitRecord, Discovery, Extraction
from circuitstore.errors import InputError
from circuitstore.store import CIRCUIT, DISCOVERY, create_store, open_store


def other_bytes(discovery: Discovery) -> Discovery:
    """The same question, answered by other arithmetic."""
    assert discovery.scores is not None
    return replace(discovery, scores=replace(discovery.scores, mean=np.nextafter(discovery.scores.mean, np.float32(9))))


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
        writer.put(discovery, run="run")
        assert writer.has(DISCOVERY, discovery.id) and not writer.has(CIRCUIT, record.id)
        assert writer.pending("run") == [discovery.item]
        writer.put(record, run="run")
        assert writer.has(CIRCUIT, record.id)
        assert writer.pending("run") == [discovery.item]  # the responses that it refers to are not there
        writer.put(*world.responses, run="run")
        assert writer.pending("run") == []


def test_failed_items_are_asked_again_on_request(folder: Path, catalog_url: str, world: Any) -> None:
    first, second = world.items[:2]
    with create_store(folder, catalog=catalog_url) as store, store.writer() as writer:
        writer.start_run("run", "", [first, second], world.wanted[:4])
        writer.put(world.discoveries[1], run="run")
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


def test_putting_twice_is_as_good_as_once(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        before = store.circuits(), store.items(), store.runs()
        with store.writer() as writer:
            for discovery in world.discoveries:
                writer.put(discovery, run="run")
            for record in world.records:
                writer.put(record, run="run")
            assert writer.notices == ()
        assert all(a.equals(b) for a, b in zip(before, (store.circuits(), store.items(), store.runs()), strict=True))
        assert len(store.verify()) == 0


def test_the_first_answer_wins(filled: Path, world: Any) -> None:
    discovery, record = world.discoveries[0], world.records[0]
    with open_store(filled) as store:
        with store.writer() as writer:
            writer.put(other_bytes(discovery), run="run")
            writer.put(replace(record, n_images=99), run="run")
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
            assert writer.has(DISCOVERY, world.discoveries[0].id) and writer.has(CIRCUIT, world.records[0].id)
            assert not writer.has(DISCOVERY, world.discoveries[1].id)
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
            with pytest.raises(InputError, match=r"edge .* is on no path through the split form"):
                writer.put(record, run="run")
            writer.put(world.records[1], run="run")
        assert list(store.archive.ids("circuit")) == list(store.graph.present()) == [world.records[1].id]
        assert len(store.verify()) == 0


def test_a_stored_circuit_that_is_not_pruned_is_set_aside(
    filled: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program before this one could have stored it."""
    record = unpruned(world.records[0])
    with open_store(filled) as store:
        with monkeypatch.context() as patch, store.writer() as writer:
            patch.setattr(Circuit, "astray", None)
            writer.graph.remove([record.id])
            store.archive.remove("circuit", record.id)
            store.archive.write(record, 17)
        with store.writer() as writer:
            assert any("is on no path" in n and "set aside" in n for n in writer.notices)
            assert writer.pending("run") == [record.item]
            world.fill(writer)
        assert len(store.verify()) == 0


@pytest.mark.parametrize("queued", [True, False])
def test_a_damaged_circuit_is_computed_again_with_other_bytes(
    folder: Path, catalog_url: str, world: Any, queued: bool
) -> None:
    record = world.records[0]
    again = replace(record, n_images=99)
    with create_store(folder, catalog=catalog_url) as store:
        with store.writer() as writer:
            writer.put(record, run="run")
            if not queued:
                writer.flush()
            store.archive.path("circuit", record.id).write_bytes(b"PAR1")
            writer.put(again, run="run")
            writer.flush()
            assert writer.graph.present() == {record.id: again.sha256}
        assert len(store.verify()) == 0
