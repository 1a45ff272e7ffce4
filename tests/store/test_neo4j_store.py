"""A store whose graph is on a Neo4j server: filled, asked, verified, rebuilt, collected, taken over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from circuitstore.errors import InputError, StoreError
from circuitstore.query import run
from circuitstore.store import Store, create_store, migrate_store, open_store, rebuild_store

from .interrupting import is_free, unsound

PLACES = ("graph/neo4j.py", "contextlib.py")


@pytest.fixture
def url(neo4j_server) -> str:
    neo4j_server.empty()
    return neo4j_server.url


def assert_sound(store: Store, world) -> None:
    assert len(store.verify()) == 0, str(store.verify())
    counted = store.query("MATCH (c:Circuit) RETURN c.id AS id, c.n_edges AS n").to_pandas()
    assert dict(counted.itertuples(index=False, name=None)) == {r.id: r.circuit.n_edges for r in world.records}


def test_a_store_from_its_making_to_its_rebuilding(folder: Path, url: str, world, neo4j_server) -> None:
    with create_store(folder, graph=url) as store, store.writer() as writer:
        world.fill(writer)
    assert not (folder / "graph.lbdb").exists()
    with open_store(folder, graph=url) as store:
        assert_sound(store, world)
        best = run(store, "top-edges", {"circuit": world.records[0].id}).to_pandas()
        assert set(best["edge"]) <= set(world.records[0].circuit.edges)
    assert migrate_store(folder, graph=url).to_pandas()["what"].tolist() == ["up to date"] * 2
    neo4j_server.ask("MATCH (c:Circuit) WITH c LIMIT 1 REMOVE c:Circuit")
    neo4j_server.ask("MATCH (:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->() WITH f LIMIT 1 SET f.score = 7.5")
    with open_store(folder, graph=url) as store:
        assert set(store.verify().to_pandas()["kind"]) == {"altered circuit", "missing circuit", "orphan nodes"}
    rebuild_store(folder, graph=url)
    with open_store(folder, graph=url) as store:
        assert_sound(store, world)
    with open_store(folder, graph=url) as store, store.writer() as writer:
        writer.delete_run("run")
        writer.gc()
        assert writer.graph.present() == {}


@pytest.mark.parametrize("lost", ["all of it", "older copy"])
def test_a_lost_graph_is_filled_again(folder: Path, url: str, world, neo4j_server, lost: str) -> None:
    with create_store(folder, graph=url) as store, store.writer() as writer:
        world.fill(writer)
    if lost == "older copy":
        neo4j_server.ask("MATCH (c:Circuit) WITH c LIMIT 2 MATCH (c)-[:HAS]->(n) DETACH DELETE c, n")
    else:
        neo4j_server.strip()
    with open_store(folder, graph=url) as store:
        with store.writer() as writer:
            assert "the graph lacked" in writer.notices[-1]
        assert_sound(store, world)


def test_a_graph_moves_from_the_embedded_engine(filled: Path, url: str, world) -> None:
    rebuild_store(filled, graph=url)
    with open_store(filled, graph=url) as store:
        assert_sound(store, world)


def test_two_stores_never_share_a_graph(folder: Path, url: str, world) -> None:
    with create_store(folder, graph=url) as store, store.writer() as writer:
        world.fill(writer)
    with create_store(folder.with_name("other"), graph=url) as other:
        with pytest.raises(StoreError, match="belongs to store"), other.writer():
            pass
        with pytest.raises(StoreError, match="belongs to store"):
            other.query("MATCH (c:Circuit) RETURN c.id")
    with open_store(folder, graph=url) as store:
        assert_sound(store, world)


def test_a_killed_writers_lease_is_taken_over(folder: Path, url: str, world) -> None:
    script = (
        "import os, signal, sys\n"
        "from circuitstore.store import create_store\n"
        "with create_store(sys.argv[1], graph=sys.argv[2]) as store, store.writer():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(folder), url], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    with open_store(folder, graph=url) as store:
        held = store.graph.lease()
        assert held is not None and "process" in held.owner
        with store.writer() as writer:
            world.fill(writer)
        assert store.graph.lease() is None
        assert_sound(store, world)


def test_a_password_in_a_url_reaches_no_file(folder: Path) -> None:
    with pytest.raises(InputError, match="CIRCUITSTORE_NEO4J_PASSWORD") as refused:
        create_store(folder, graph="bolt://ada:secret@host/neo4j")
    assert "secret" not in str(refused.value) and not folder.exists()


def test_ctrl_c_anywhere_in_writing_leaves_the_graph_to_other_threads(folder: Path, url: str, world) -> None:
    with create_store(folder, graph=url) as store, store.writer() as writer:
        world.fill(writer)
        sweep = writer.graph.sweep
        assert unsound(sweep, PLACES, 12, lambda: is_free(sweep)) == []
    with open_store(folder, graph=url) as store:
        assert_sound(store, world)
