"""A graph server that is killed, loses what it had, has no room, or is cut off, while a store is written."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from circuitstore.errors import StoreUnreachable
from circuitstore.store import Store, create_store, open_store, projection
from circuitstore.store.graph.neo4j import server as client

from .. import neo4j_server as servers
from ..neo4j_server import Neo4jServer, NoServer, OwnServer
from .conftest import World, make_world
from .proxy import How, Proxy

WORLD = make_world(10, (6, 9, 12))
SMALL = make_world(5, (6, 9, 12))


@pytest.fixture
def url(neo4j_server: Neo4jServer) -> str:
    neo4j_server.empty()
    return neo4j_server.url


@pytest.fixture
def mortal(neo4j_server: Neo4jServer, url: str) -> OwnServer:
    """The server of the tests, which may be killed."""
    if not isinstance(neo4j_server, OwnServer):
        pytest.skip("the server was not started by the tests")
    return neo4j_server


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "GROUP", 2)
    monkeypatch.setattr(projection, "TICK_S", 0.05)
    monkeypatch.setattr(projection, "AGAIN_S", 0.2)


def assert_equals_undisturbed(folder: Path, url: str, world: World = WORLD) -> None:
    """Every circuit once, edge by edge, and nothing else."""
    with open_store(folder, graph=url) as store:
        assert len(store.verify()) == 0, str(store.verify())
        assert set(store.circuits("run")["id"]) == {r.id for r in world.records}
        assert {r.id: store.circuit(r.id).sha256 for r in world.records} == {r.id: r.sha256 for r in world.records}
        assert store.graph.present() == {r.id: r.sha256 for r in world.records}
        counted = store.query("MATCH (n:Node) RETURN count(n) AS n").to_pandas()["n"].tolist()
        edges = store.query("MATCH (:Node)-[f:FEEDS]->(:Node) RETURN count(f) AS n").to_pandas()["n"].tolist()
    assert counted == [sum(r.circuit.n_nodes for r in world.records)]
    assert edges == [sum(r.circuit.n_edges for r in world.records)]


def filling(store: Store, at: dict[int, Callable[[], object]], world: World = WORLD) -> None:
    """One indexing run; `at` says what happens just before the n-th circuit is put."""
    with store.writer() as writer:
        world.start(writer)
        for discovery in world.discoveries:
            writer.put(discovery, run="run")
        for n, record in enumerate(world.records):
            at.get(n, lambda: None)()
            writer.put(record, run="run")


def test_a_server_killed_and_started_again_in_the_middle(folder: Path, mortal: OwnServer) -> None:
    """Three times, each at some instant of the writing that goes on; within the time that is waited for anyway."""
    dice, restarts = random.Random(0), list[threading.Timer]()

    def restart() -> None:
        for earlier in restarts:
            earlier.join()
        restarts.append(threading.Timer(dice.random() * 0.05, lambda: (mortal.kill(), mortal.start())))
        restarts[-1].start()

    with create_store(folder, graph=mortal.url) as store:
        filling(store, dict.fromkeys((3, 12, 21), restart))
    restarts[-1].join()
    assert_equals_undisturbed(folder, mortal.url)


def test_the_work_goes_on_without_the_server_and_with_an_older_copy_of_it(
    folder: Path, mortal: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away for longer than a transaction is tried again; back once as it was, once put back to an older state."""
    monkeypatch.setattr(client, "RETRY_S", 0.1)
    data, copy = mortal.home / "data", folder.with_name("copy")
    stored = []

    def stop() -> None:
        mortal.kill()
        if not copy.exists():
            shutil.copytree(data, copy)

    def start() -> None:
        stored.append(len(list(folder.glob("archive/circuits/*/*.parquet"))))
        mortal.start()

    def start_older() -> None:
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        start()

    with create_store(folder, graph=mortal.url) as store:
        filling(store, {8: stop, 14: start, 20: stop, 26: start_older})
    assert stored == [14, 26]
    assert_equals_undisturbed(folder, mortal.url)


def test_a_server_that_stays_away_ends_the_run_at_last_and_the_next_goes_on(
    folder: Path, mortal: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRY_S", 0.1)
    monkeypatch.setattr(projection, "GRAPH_WAIT_S", 0.5)
    with create_store(folder, graph=mortal.url) as store:
        with pytest.raises(StoreUnreachable, match=r"cannot be reached.*start.*nothing is lost.*same command"):
            filling(store, {5: mortal.kill})
        assert len(store.circuits("run")) == len(WORLD.records)
        assert store.writing_process() is None
    mortal.start()
    with create_store(folder, graph=mortal.url) as store, store.writer() as writer:
        assert "the graph lacked" in writer.notices[-1]
    assert_equals_undisturbed(folder, mortal.url)


@pytest.mark.parametrize("lost", ["everything", "nodes", "circuits"])
def test_a_graph_emptied_while_it_is_written(
    folder: Path, neo4j_server: Neo4jServer, url: str, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two groups: `graph/neo4j/test_readers.py` does it in the middle of one."""
    monkeypatch.setattr(projection, "TICK_S", 3600.0)
    empty = {
        "everything": neo4j_server.strip,
        "nodes": neo4j_server.empty,
        "circuits": lambda: neo4j_server.ask("MATCH (c:Circuit)-[:HAS]->(n) DETACH DELETE c, n"),
    }
    with create_store(folder, graph=url) as store:
        filling(store, {9: empty[lost]})
        with store.writer():
            pass
    assert_equals_undisturbed(folder, url)


@pytest.mark.parametrize(("how", "every"), [("answer lost", 2), ("commit lost", 2), ("statement lost", 19)])
def test_a_connection_that_is_reset(folder: Path, neo4j_server: Neo4jServer, url: str, how: How, every: int) -> None:
    """Whatever was committed without our learning of it is there once."""
    proxy = Proxy(int(url.split(":")[-1].split("/")[0]), how, every)
    through = f"bolt://127.0.0.1:{proxy.port}/{neo4j_server.database}"
    with create_store(folder, graph=through) as store:
        filling(store, {}, SMALL)
        with store.writer() as writer:
            writer.rebuild()
    proxy.close()
    assert proxy.cut >= 5
    assert_equals_undisturbed(folder, url, SMALL)


@pytest.fixture
def cramped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OwnServer, Path]]:
    """A server whose disk is nearly full, and the file that fills it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    small = "db.tx_log.rotation.size=128k\n"
    monkeypatch.setattr(servers, "SETTINGS", servers.SETTINGS + small)
    try:
        try:
            server = OwnServer(disk / "server")
        except NoServer as reason:
            pytest.skip(f"no Neo4j for the tests: {reason}")
        monkeypatch.setenv("CIRCUITSTORE_NEO4J_USER", server.user)
        monkeypatch.setenv("CIRCUITSTORE_NEO4J_PASSWORD", server.password)
        yield server, disk / "ballast"
        server.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_of_the_server(
    folder: Path, cramped: tuple[OwnServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, ballast = cramped
    monkeypatch.setattr(client, "RETRY_S", 0.1)
    monkeypatch.setattr(projection, "GRAPH_WAIT_S", 0.5)

    def fill_disk() -> None:
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)

    with create_store(folder, graph=server.url) as store:
        with pytest.raises(StoreUnreachable, match=r"nothing is lost.*same command"):
            filling(store, {5: fill_disk})
        assert len(store.circuits("run")) == len(WORLD.records)
    ballast.unlink()
    server.kill()  # as its manual says: it must be restarted
    server.start()
    with create_store(folder, graph=server.url) as store:
        filling(store, {})
    assert_equals_undisturbed(folder, server.url)
