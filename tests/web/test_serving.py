"""The command serve, and the explorer beside a writer and on graphs that go away."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from circuitstore.store import create_store, open_store
from circuitstore.web import create_app
from circuitstore.web.access import Access
from starlette.testclient import TestClient

from ..neo4j_server import OwnServer, free_port
from ..toy_studies import SPEC, Answers, effect_items, fill

COUNT = "MATCH (c:Circuit) RETURN count(*) AS n"
ANSWERS = Answers.to(effect_items(2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "store", ANSWERS)
    return tmp_path / "store"


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "circuitstore.cli", "serve", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_command_prints_a_url_and_ends_with_ctrl_c(folder: Path) -> None:
    port = free_port()
    with start("--store", str(folder), "--port", str(port)) as process:
        try:
            found = re.fullmatch(rf"explorer: http://localhost:{port}/\?token=(\S+)\n", first_line(process))
            assert found
            with closing(http.client.HTTPConnection("localhost", port)) as connection:
                connection.request("GET", "/api/1/overview", headers={"Authorization": f"Bearer {found[1]}"})
                answer = connection.getresponse()
                assert (answer.status, b'"circuits":4' in answer.read()) == (200, True)
            second = subprocess.run(
                [sys.executable, "-m", "circuitstore.cli", "serve", "--store", str(folder), "--port", str(port)],
                capture_output=True,
                text=True,
            )
            assert second.returncode == 2 and f"127.0.0.1:{port}: cannot listen" in second.stderr
            assert "--port" in second.stderr and "Traceback" not in second.stderr
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


@pytest.fixture(params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "ladybug":
        return None
    server = request.getfixturevalue("neo4j_server")
    server.empty()
    return server.url


@pytest.fixture
def empty(tmp_path: Path, graph_url: str | None) -> Iterator[tuple[Path, str | None]]:
    with create_store(tmp_path / "store", graph=graph_url) as store, store.writer():
        pass
    yield tmp_path / "store", graph_url


def test_it_shows_what_a_writer_adds(empty: tuple[Path, str | None]) -> None:
    folder, url = empty
    with open_store(folder, graph=url) as store:
        client = TestClient(create_app(store, Access.of("127.0.0.1", 8360, False)), base_url="http://localhost:8360")

        def seen() -> tuple[int, int, str | None]:
            listed = client.get("/api/1/circuits").json()["total"]
            drawn = client.get("/api/1/query", params={"text": COUNT}).json()["rows"][0][0]
            return listed, drawn, client.get("/api/1/overview").json()["writer"]

        assert seen() == (0, 0, None)
        with create_store(folder, graph=url) as other, other.writer() as writer:
            items = [discovery.item for discovery in ANSWERS.discoveries]
            wanted = [(record.discovery_id, record.extraction) for record in ANSWERS.records]
            writer.start_run("toys", SPEC, items, wanted)
            for number, (discovery, record) in enumerate(zip(ANSWERS.discoveries, ANSWERS.records, strict=True), 1):
                writer.put(discovery, record, run="toys")
                listed, _, by = seen()
                assert listed == number and by is not None
        assert seen() == (4, 4, None)


def test_a_server_that_goes_away_and_comes_back(tmp_path: Path, neo4j_server) -> None:
    """The list of circuits needs no graph; a query says what is wrong, with a status that pages ask again for."""
    if not isinstance(neo4j_server, OwnServer):
        pytest.skip("the server was not started by the tests")
    neo4j_server.empty()
    fill(tmp_path / "store", ANSWERS, graph=neo4j_server.url)
    with open_store(tmp_path / "store", graph=neo4j_server.url) as store:
        client = TestClient(create_app(store, Access.of("127.0.0.1", 8360, False)), base_url="http://localhost:8360")

        def ask():
            return client.get("/api/1/query", params={"text": COUNT, "timeout_s": 5})

        assert ask().json()["rows"] == [[4]]
        neo4j_server.kill()
        try:
            answer = ask()
            assert answer.status_code == 503 and answer.json()["error"]
            assert client.get("/api/1/overview/graph").status_code == 503
            assert client.get("/api/1/circuits").json()["total"] == 4
            assert client.get("/api/1/overview").status_code == 200
        finally:
            neo4j_server.start()
        assert client.get("/api/1/query", params={"text": COUNT}).json()["rows"] == [[4]]


def test_a_circuit_that_is_deleted_while_it_is_shown(folder: Path) -> None:
    with open_store(folder) as store:
        client = TestClient(create_app(store, Access.of("127.0.0.1", 8360, False)), base_url="http://localhost:8360")
        query = {"text": "edges-of-circuit", "p.circuit": ANSWERS.records[0].id}
        assert client.get("/api/1/query", params=query).status_code == 200
        with open_store(folder) as other, other.writer() as writer:
            writer.delete_run("toys")
            writer.gc()
        answer = client.get("/api/1/query", params=query)
        assert answer.status_code == 400 and "no circuit has an id that begins with" in answer.json()["error"]
        assert client.get("/api/1/circuits").json()["total"] == 0
