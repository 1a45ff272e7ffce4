"""Two runs on one store, and two stores with one graph: one continues, the other raises an error with the reason."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from circuitstore.errors import StoreBusy, StoreForeign
from circuitstore.ingest import Spec, index, parse_spec
from circuitstore.store import create_store, open_store

from ..waiting import LONG_S

WRITER = """
import sys
from circuitstore.store import create_store
graph = None if sys.argv[2] == "-" else sys.argv[2]
with create_store(sys.argv[1], graph=graph) as store, store.writer() as writer:
    print(writer.owner, flush=True)
    sys.stdin.read()
"""
ELSEWHERE = ["unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
"""A machine with another name and its own processes."""


QUICK = """
name = "quick"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
[[extract]]
edges = 20
"""
"""One circuit."""


@pytest.fixture
def one_class() -> Spec:
    return parse_spec(QUICK)


@pytest.fixture(params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "ladybug":
        return None
    server = request.getfixturevalue("neo4j_server")
    server.empty()
    return server.url


class Held:
    """Another process that has a store's writer open."""

    def __init__(self, folder: Path, graph: str | None, around: list[str]) -> None:
        command = [*around, sys.executable, "-c", WRITER, str(folder), graph or "-"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.owner = self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.communicate(timeout=LONG_S)


def other_host() -> list[str]:
    """The command that runs another in a namespace with another host name; skips if the system has none."""
    shell = ["sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if subprocess.run([*ELSEWHERE, *shell, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("the system makes no namespaces for this user")
    return [*ELSEWHERE, *shell]


@pytest.fixture(params=["here", "elsewhere"])
def held(request: pytest.FixtureRequest, tmp_path: Path, graph_url: str | None) -> Iterator[Held]:
    held = Held(tmp_path / "data", graph_url, other_host() if request.param == "elsewhere" else [])
    assert f"host {request.param if request.param == 'elsewhere' else socket.gethostname()}" in held.owner
    yield held
    held.end()


def test_a_second_run_raises_an_error_or_waits(
    held: Held, tmp_path: Path, graph_url: str | None, one_class: Spec
) -> None:
    process = " ".join(held.owner.split()[:5])  # process 4711 on host atlas
    with pytest.raises(StoreBusy, match=process):
        index(one_class, location=tmp_path / "data", graph=graph_url, progress=False)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            index, one_class, location=tmp_path / "data", graph=graph_url, wait_s=LONG_S, progress=False
        )
        held.end()
        result = waiting.result(timeout=LONG_S)
    assert result.failed == {} and result.circuits == 1
    with open_store(tmp_path / "data", graph=graph_url) as store:
        assert len(store.verify()) == 0


def test_one_of_two_stores_that_race_for_an_empty_graph_gets_it(tmp_path: Path, graph_url: str | None) -> None:
    place = graph_url or f"ladybug://{tmp_path}/shared.lbdb"
    together = threading.Barrier(2)

    def make(name: str) -> str:
        together.wait(timeout=LONG_S)
        try:
            with create_store(tmp_path / name, graph=place) as store, store.writer():
                return "has it"
        except (StoreForeign, StoreBusy) as refused:
            return str(refused)

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(make, ["one", "other"]))
    assert answers.count("has it") == 1
    (refused,) = set(answers) - {"has it"}
    # Whoever holds the lock may not have written its name yet: the message then has the file only.
    assert place.removeprefix("ladybug://") in refused or f"process {os.getpid()}" in refused
