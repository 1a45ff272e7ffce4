"""Time and size limits of a query on Neo4j, even if the server does not enforce them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from circuitstore.errors import QueryFailed, StoreUnreachable
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.neo4j import limits as module
from circuitstore.store.graph.neo4j.backend import Neo4jGraph
from circuitstore.store.graph.neo4j.limits import Limits
from circuitstore.testing.graph_place import STORE

ENDLESS = "UNWIND range(1, 1000000) AS a UNWIND range(1, 1000000) AS b WITH a WHERE a < 0 RETURN count(*)"
LARGE = "UNWIND range(1, 400000) AS i RETURN collect('some letters') AS x"
MANY = "UNWIND range(1, 400000) AS i RETURN 'some letters' AS x"


@pytest.fixture
def graph(neo4j_server: Any) -> Iterator[Neo4jGraph]:
    neo4j_server.empty()
    with open_graph(neo4j_server.url, store_id=STORE) as opened:
        assert isinstance(opened, Neo4jGraph)
        yield opened


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def await_threads(count: int) -> None:
    end = time.monotonic() + 60
    while threading.active_count() > count:
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.02)


def test_what_never_ends_is_not_waited_for(ended: threading.Event) -> None:
    limits = Limits("bolt://host/neo4j", 0.1, 1)

    def work() -> None:
        with limits.on(object()):
            ended.wait()

    with pytest.raises(QueryFailed, match=r"longer than 0\.1 s"):
        limits.keep(work)
    assert not ended.is_set()


def test_a_server_that_does_not_begin_is_called_busy(ended: threading.Event) -> None:
    with pytest.raises(StoreUnreachable, match=r"bolt://host/neo4j has not begun the query within 0\.1 s"):
        Limits("bolt://host/neo4j", 0.1, 1).keep(ended.wait)


@pytest.mark.parametrize("error", [ValueError("own"), QueryFailed("of the query"), TimeoutError("of the work")])
def test_errors_and_answers_are_those_of_the_work(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        Limits("bolt://host/neo4j", 60, 1).keep(fail)
    assert raised.value is error
    assert Limits("bolt://host/neo4j", 60, 1).keep(lambda: "an answer") == "an answer"


def test_the_server_ends_what_is_not_waited_for(graph: Neo4jGraph, neo4j_server: Any) -> None:
    """The connection is dropped long before the query's timeout."""
    threads = threading.active_count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LATE_S", -999.5)
        with pytest.raises((QueryFailed, StoreUnreachable)):
            graph.run(ENDLESS, timeout_s=1000)
    await_threads(threads)
    text = "SHOW TRANSACTIONS YIELD currentQuery WHERE currentQuery = $endless RETURN currentQuery"
    end = time.monotonic() + 60
    while neo4j_server.ask(text, endless=ENDLESS):
        assert time.monotonic() < end, "it runs on"
        time.sleep(0.05)
    assert graph.run("RETURN 1 AS x").frame["x"].tolist() == [1]


def test_ctrl_c_is_heard_at_once(graph: Neo4jGraph) -> None:
    threads = threading.active_count()
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        graph.run(ENDLESS, timeout_s=1000)
    timer.join()
    await_threads(threads)
    assert graph.run("RETURN 1 AS x").frame["x"].tolist() == [1]


@pytest.mark.parametrize("text", [LARGE, MANY])
def test_an_answer_is_left_when_it_grows_too_large(graph: Neo4jGraph, text: str) -> None:
    """Also within a row: this tests the assumptions about the internals of the installed driver."""
    seen: list[int] = []

    class Watched(Limits):
        def count(self, received: int) -> None:
            seen.append(received)
            super().count(received)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("circuitstore.store.graph.neo4j.backend.Limits", Watched)
        with pytest.raises(QueryFailed, match=r"larger than 1 MiB.*--max-mib"):
            graph.run(text, max_rows=10**6, max_mib=1)
    assert 1 << 20 < sum(seen) < (1 << 20) + (1 << 17), "it was not stopped soon after the limit"
    assert graph.run("RETURN 1 AS x").frame["x"].tolist() == [1]
