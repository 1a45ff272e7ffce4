"""Every planted difference is found and named, and `rebuild` mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from circuitstore.circuits import CircuitRecord, EdgeScores, greedy
from circuitstore.store import Store, open_store, rebuild_store, tables
from circuitstore.store.catalog import Catalog
from circuitstore.store.graph import open_graph


def circuit_file(store: Store, world: Any) -> Path:
    return store.archive.path("circuit", world.records[0].id)


def discovery_file(store: Store, world: Any) -> Path:
    return store.archive.path("discovery", world.discoveries[0].id)


def catalog(store: Store, statement: sa.Executable) -> None:
    with Catalog(store.location.catalog, read_only=False).writing() as connection:
        connection.execute(statement)


def pretending(record: CircuitRecord, original: CircuitRecord) -> CircuitRecord:
    """A record with another's checksum."""
    record.__dict__["sha256"] = original.sha256
    return record


def other_score(record: CircuitRecord) -> CircuitRecord:
    assert record.score is not None
    score = record.score.copy()
    score[record.circuit.order[0]] = np.nextafter(score[record.circuit.order[0]], np.float32(9))
    return pretending(replace(record, score=score), record)


def other_edges(record: CircuitRecord, n: int) -> CircuitRecord:
    assert record.score is not None
    circuit = greedy(EdgeScores(record.circuit.graph, record.score), n)
    return pretending(replace(record, circuit=circuit), record)


def in_graph(store: Store, world: Any, change: Callable[[CircuitRecord], CircuitRecord]) -> None:
    record = world.records[0]
    created = int(store.circuits(id=record.id)["created_ms"].item())
    with open_graph(store.location.graph, store_id=store.id) as graph:
        graph.remove([record.id])
        graph.put([change(record)], {record.id: created})


def lose_circuit_in_graph(store: Store, world: Any) -> None:
    with open_graph(store.location.graph, store_id=store.id) as graph:
        graph.remove([world.records[0].id])


def stranger_in_graph(store: Store, world: Any) -> None:
    record = replace(world.records[0], extraction=replace(world.records[0].extraction, version=9))
    with open_graph(store.location.graph, store_id=store.id) as graph:
        graph.put([record], {record.id: 17})


def unfinished_file(store: Store, world: Any) -> None:
    path = circuit_file(store, world)
    path.with_name(path.name + ".tmp").write_bytes(b"half")


PLANTED: dict[str, tuple[Callable[[Store, Any], object], str, str, str]] = {
    # what is done: (how, part, kind of difference, words in its description)
    "circuit file lost": (lambda s, w: circuit_file(s, w).unlink(), "archive", "missing file", "is not there"),
    "circuit file cut": (lambda s, w: circuit_file(s, w).write_bytes(b"PAR1"), "archive", "damaged file", "be read"),
    "discovery file lost": (lambda s, w: discovery_file(s, w).unlink(), "archive", "missing file", "is not there"),
    "discovery file cut": (lambda s, w: discovery_file(s, w).write_bytes(b""), "archive", "damaged file", "be read"),
    "circuit forgotten": (
        lambda s, w: catalog(s, sa.delete(tables.circuits).where(tables.circuits.c.id == w.records[0].id)),
        "archive",
        "orphan file",
        "does not list",
    ),
    "discovery forgotten": (
        lambda s, w: catalog(s, sa.delete(tables.discoveries).where(tables.discoveries.c.id == w.discoveries[0].id)),
        "catalog",
        "wrong state",
        "its discovery is not listed",
    ),
    "figure altered": (
        lambda s, w: catalog(s, sa.update(tables.circuits).values(faithfulness=2.0)),
        "catalog",
        "altered row",
        "faithfulness is 2.0",
    ),
    "checksum altered": (
        lambda s, w: catalog(s, sa.update(tables.discoveries).values(sha256="0" * 64)),
        "catalog",
        "altered row",
        "sha256 is 0000",
    ),
    "graph lost": (lambda s, w: (s.location.folder / "graph.lbdb").unlink(), "graph", "missing graph", "graph.lbdb"),
    "circuit not in graph": (lose_circuit_in_graph, "graph", "missing circuit", "the graph lacks it"),
    "stranger in graph": (stranger_in_graph, "graph", "extra circuit", "does not list it"),
    "edges missing": (
        lambda s, w: in_graph(s, w, lambda r: other_edges(r, 4)),
        "graph",
        "altered circuit",
        "is missing",
    ),
    "edges added": (
        lambda s, w: in_graph(s, w, lambda r: other_edges(r, 12)),
        "graph",
        "altered circuit",
        "is not in the archive",
    ),
    "score altered": (lambda s, w: in_graph(s, w, other_score), "graph", "altered circuit", "score is"),
    "property altered": (
        lambda s, w: in_graph(s, w, lambda r: pretending(replace(r, n_images=99), r)),
        "graph",
        "altered circuit",
        "n_images is 99, expected 5",
    ),
}


def test_a_sound_store_has_no_differences(filled: Path) -> None:
    with open_store(filled) as store:
        assert list(store.verify().to_pandas().columns) == ["part", "kind", "id", "what", "remedy"]
        assert len(store.verify()) == 0


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_named_and_mended(filled: Path, world: Any, planted: str) -> None:
    plant, part, kind, words = PLANTED[planted]
    with open_store(filled) as store:
        plant(store, world)
    with open_store(filled) as store:
        found = store.verify()
        assert any((r["part"], r["kind"]) == (part, kind) and words in r["what"] for r in found), str(found)
        known = {v.id for v in (*world.discoveries, *world.records)}
        strangers = planted == "stranger in graph"
        assert strangers or all(r["id"] in known or r["kind"] == "missing graph" for r in found)
        assert all("circuitstore" in r["remedy"] for r in found)
    rebuild_store(filled)
    with open_store(filled) as store:
        with store.writer() as writer:
            world.fill(writer)
        assert len(store.verify()) == 0, str(store.verify())
        assert set(store.circuits("run")["id"]) == {r.id for r in world.records}


def test_what_a_killed_writer_left_is_named(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        unfinished_file(store, world)
        [found] = store.verify()
        assert found["kind"] == "unfinished file"
        with store.writer():
            pass
        assert len(store.verify()) == 0


def test_verifying_beside_a_writer_says_so(filled: Path) -> None:
    with open_store(filled) as store, store.writer():
        assert "writes to the store meanwhile" in store.verify().notes[0]
