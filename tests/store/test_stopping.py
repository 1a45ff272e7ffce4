"""An event stops a running query, on both engines: a server ends a query whose reader has left."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from circuitstore.errors import Stopped
from circuitstore.store import create_store, stopped_by
from circuitstore.testing.graph_reading import ENDLESS


@pytest.fixture(params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "ladybug":
        return None
    server = request.getfixturevalue("neo4j_server")
    server.empty()
    return server.url


def test_a_query_is_stopped_by_an_event(folder: Path, graph_url: str | None) -> None:
    stop = threading.Event()
    with create_store(folder, graph=graph_url) as store, ThreadPoolExecutor(1) as pool:
        with store.writer():
            pass  # creates the graph

        def ask() -> None:
            with stopped_by(stop):
                store.graph.run(ENDLESS, timeout_s=300)

        running = pool.submit(ask)
        with pytest.raises(TimeoutError):
            running.result(0.5)
        stopped = time.monotonic()
        stop.set()
        with pytest.raises(Stopped):
            running.result()
        assert time.monotonic() - stopped < 60  # the machine may be busy
        assert store.query("RETURN 1 AS one").to_pandas()["one"].tolist() == [1]


def test_an_event_that_is_set_already_lets_nothing_begin() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped), stopped_by(stop):
        pytest.fail("the block began")
