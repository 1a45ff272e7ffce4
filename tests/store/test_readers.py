"""Twenty readers while a store is written: never half a circuit, and an answer, or a word that says to try again."""

from __future__ import annotations

from pathlib import Path

import pytest
from circuitstore.store import create_store, projection

from .conftest import World, make_world
from .reading import Readers

ALLOWED = ("reads", "retries", "retried", "gone meanwhile")
SIZES = (6, 12, 20)
"""Edges of a discovery's circuits; they make a group on its way into the graph."""


@pytest.fixture(params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "ladybug":
        return None
    server = request.getfixturevalue("neo4j_server")
    server.empty()
    return server.url


@pytest.fixture(scope="module")
def many() -> World:
    return make_world(4, SIZES)


def readers_of(folder: Path, graph: str | None) -> Readers:
    """Of the embedded engine in processes; of a server in processes with threads."""
    shape = {"processes": 20, "threads": 1} if graph is None else {"processes": 5, "threads": 4}
    return Readers(folder, graph, **shape)


def test_readers_never_see_half_a_circuit(
    folder: Path, graph_url: str | None, many: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While circuits come, the graph is created again, and they go and come again; a requested one may be gone."""
    monkeypatch.setattr(projection, "GROUP", len(SIZES))
    monkeypatch.setattr(projection, "TICK_S", 0.05)
    with create_store(folder, graph=graph_url) as store:
        with store.writer() as first:
            many.start(first)
        readers = readers_of(folder, graph_url)
        with store.writer() as second:
            for i, discovery in enumerate(many.discoveries, 1):
                second.put(discovery, run="run")
                for record in many.records:
                    if record.discovery_id == discovery.id:
                        second.put(record, run="run")
                readers.await_sight(i * len(SIZES))
            second.rebuild()
            readers.await_sight(len(many.records))
            second.delete_run("run")
            second.gc()
            readers.await_sight(0)
            many.fill(second)
        readers.await_sight(len(many.records))
        readers.await_each()
        met = readers.stop()
        assert {what: count for what, count in met.items() if not what.startswith(ALLOWED)} == {}
        assert all(met[f"reads of {number}"] > 0 for number in range(20))
        assert met["retries"] <= met["reads"], "readers have to try again more often than they get an answer"
        assert len(store.verify()) == 0
