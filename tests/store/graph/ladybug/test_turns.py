"""Threads that share a LadybugDB graph: concurrent queries and writes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from circuitstore.errors import StoreError
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.ladybug import snapshot
from circuitstore.store.graph.ladybug.backend import LadybugGraph
from circuitstore.store.graph.ladybug.engine import Engine
from circuitstore.store.graph.ladybug.turns import Turns
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, assert_holds, created

from ....waiting import LONG_S, until

RECORDS = make_records(6, n=12, n_layers=2, n_heads=2)
COUNT = "MATCH (c:Circuit) RETURN count(*) AS n"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


class Held:
    """Queries that are suspended until they are released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        ask = Engine.ask

        def held(engine: Engine, text: str, *args: Any, **limits: Any) -> Any:
            answer = ask(engine, text, *args, **limits)
            if "held" in text:
                self.begun.release()
                assert self.go.wait(LONG_S)
            return answer

        monkeypatch.setattr(Engine, "ask", held)

    def start(self, pool: ThreadPoolExecutor, graph: LadybugGraph) -> Future[int]:
        found = pool.submit(counted, graph, "MATCH (c:Circuit) RETURN count(*) AS n, 'held' AS held")
        assert self.begun.acquire(timeout=LONG_S)
        return found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(monkeypatch)
    yield held
    held.go.set()


def counted(graph: LadybugGraph, text: str = COUNT) -> int:
    return int(graph.run(text).frame["n"].item())


def test_a_query_waits_only_where_many_run(
    graph: LadybugGraph, pool: ThreadPoolExecutor, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "AT_ONCE", 2)
    first = held.start(pool, graph)
    assert counted(graph) == 2 and not first.done()
    second = held.start(pool, graph)
    third = pool.submit(counted, graph)
    with pytest.raises(TimeoutError):
        third.result(timeout=0.3)
    held.go.set()
    assert [one.result(timeout=LONG_S) for one in (first, second, third)] == [2, 2, 2]


def test_few_processes_are_kept(graph: LadybugGraph, pool: ThreadPoolExecutor, held: Held) -> None:
    running = [held.start(pool, graph) for _ in range(snapshot.IDLE + 2)]
    held.go.set()
    assert [one.result(timeout=LONG_S) for one in running] == [2] * len(running)
    assert len(graph._snapshots._idle) == snapshot.IDLE
    assert counted(graph) == 2


def test_what_is_written_does_not_wait_for_a_query_which_is_repeated(
    url: str, pool: ThreadPoolExecutor, held: Held
) -> None:
    with open_graph(url, store_id=STORE) as graph:
        assert isinstance(graph, LadybugGraph)
        running = held.start(pool, graph)
        graph.clear()  # always changes the file
        graph.put(RECORDS[:3], created(RECORDS))
        assert not running.done() and counted(graph) == 3
        held.go.set()
        assert running.result(timeout=LONG_S) == 3
        assert_holds(graph, RECORDS[:3])


def test_while_a_query_is_repeated_nothing_is_written_and_others_are_answered(
    url: str, pool: ThreadPoolExecutor, held: Held
) -> None:
    with open_graph(url, store_id=STORE) as graph:
        assert isinstance(graph, LadybugGraph)
        running = held.start(pool, graph)
        graph.clear()
        graph.put(RECORDS[:1], created(RECORDS))
        held.go.set()
        held.go.clear()
        assert held.begun.acquire(timeout=LONG_S)  # once more
        writing = pool.submit(graph.put, RECORDS[:3], created(RECORDS))
        until(lambda: graph._turns._to_write == 1)
        assert counted(graph) == 1 and not writing.done()
        held.go.set()
        assert running.result(timeout=LONG_S) == 1
        writing.result(timeout=LONG_S)
        assert counted(graph) == 3


def test_closing_waits_for_queries_and_refuses_others(
    graph: LadybugGraph, pool: ThreadPoolExecutor, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "AT_ONCE", 1)
    running = held.start(pool, graph)
    waiting = pool.submit(counted, graph)
    closing = pool.submit(graph.close)
    with pytest.raises(StoreError, match="is closed"):
        waiting.result(timeout=LONG_S)
    with pytest.raises(StoreError, match="is closed"):
        counted(graph)
    assert not closing.done()
    held.go.set()
    assert running.result(timeout=LONG_S) == 2
    closing.result(timeout=LONG_S)


def test_own_reads_run_at_the_same_time(url: str, pool: ThreadPoolExecutor) -> None:
    with open_graph(url, store_id=STORE) as graph:
        assert isinstance(graph, LadybugGraph)
        both = threading.Barrier(2)

        def read(ask: Callable[..., Any]) -> int:
            both.wait(LONG_S)
            found = len(ask("MATCH (c:Circuit) RETURN c.id", {}))
            both.wait(LONG_S)
            return found

        reads = [pool.submit(graph._read, read) for _ in range(2)]
        assert [one.result(timeout=LONG_S) for one in reads] == [2, 2]


def test_turns_are_for_one_that_writes_or_any_number_that_read() -> None:
    """Many threads in random order: no thread reads while another writes, and all get their turns."""
    own, state = Turns(), {"readers": 0, "writers": 0}
    guard, wrong = threading.Lock(), []

    def act(kind: str) -> None:
        with guard:
            state[kind] += 1
            if state["writers"] > 1 or (state["writers"] and state["readers"]):
                wrong.append(dict(state))
        threading.Event().wait(0.001)
        with guard:
            state[kind] -= 1

    def work(i: int) -> int:
        for k in range(20):
            if (i + k) % 3:
                with own.reading():
                    act("readers")
            else:
                with own.writing():
                    act("writers")
                    with own.writing(), own.reading():  # by the same thread
                        pass
        return i

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6), timeout=LONG_S)) == list(range(6))
    assert wrong == []


def test_nobody_waits_for_ever() -> None:
    """A waiting writer goes before later readers, and these go before the next writer."""
    own, order = Turns(), list[str]()

    def act(kind: str) -> None:
        with own.reading() if kind == "read" else own.writing():
            order.append(kind)

    with ThreadPoolExecutor(3) as pool:
        with own.reading():
            acts = [pool.submit(act, "write")]
            until(lambda: own._to_write == 1)
            acts += [pool.submit(act, "read"), pool.submit(act, "write")]
            until(lambda: own._to_read == 1 and own._to_write == 2)
            assert order == []
        for one in acts:
            one.result(timeout=LONG_S)
    assert order == ["write", "read", "write"]


@pytest.mark.parametrize("waits", ["read", "write"])
def test_one_that_is_interrupted_while_it_waits_holds_up_nobody(waits: str) -> None:
    own, goes_on = Turns(), threading.Event()

    def write(until_then: threading.Event | None = None) -> None:
        with own.writing():
            if until_then:
                assert until_then.wait(LONG_S)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, goes_on)
        until(lambda: own._writer is not None)
        interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt), own.reading() if waits == "read" else own.writing():
            raise AssertionError("another writes")
        goes_on.set()
        writing.result(timeout=LONG_S)
        pool.submit(write).result(timeout=LONG_S)
        with own.reading():
            pass
