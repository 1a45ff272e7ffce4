"""Readers of a Neo4j database begin after a circuit that they find is complete, and end before it is deleted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import neo4j
import pytest
from circuitstore.errors import StoreBusy, StoreError, StoreUnreachable
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.contract import Lease
from circuitstore.store.graph.neo4j import backend as module
from circuitstore.store.graph.neo4j import readers
from circuitstore.store.graph.neo4j.account import Account
from circuitstore.store.graph.neo4j.readers import Readers
from circuitstore.store.graph.neo4j.server import WRITER, Server
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, assert_holds, created, later
from neo4j.exceptions import Neo4jError

from ....neo4j_server import Neo4jServer
from ....waiting import LONG_S, until

CIRCUITS = "MATCH (c:Circuit) RETURN count(c)"
HAD = "MATCH (c) WHERE elementId(c) IN $ids MATCH (c)-[:HAS]->(n:Node) OPTIONAL MATCH (n)-[f:FEEDS]->() RETURN count(f)"


@pytest.fixture(params=["neo4j_server", "newest_neo4j"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Neo4jServer:
    server = request.getfixturevalue(request.param)
    monkeypatch.setenv("CIRCUITSTORE_NEO4J_USER", server.user)
    monkeypatch.setenv("CIRCUITSTORE_NEO4J_PASSWORD", server.password)
    server.empty()
    return server


@contextmanager
def reader(server: Neo4jServer) -> Iterator[Callable[..., list]]:
    """A transaction that has read something and stays open."""
    with (
        neo4j.GraphDatabase.driver(server.address, auth=(server.user, server.password)) as driver,
        driver.session(database=server.database, default_access_mode=neo4j.READ_ACCESS) as session,
        session.begin_transaction() as tx,
    ):

        def ask(text: str, **params: object) -> list:
            return [row.values() for row in tx.run(text, params)]

        ask("RETURN 1")
        yield ask


@contextmanager
def connected(server: Neo4jServer) -> Iterator[Server]:
    other = Server(server.url, Account(server.password, server.user))
    try:
        yield other
    finally:
        other.close()


def await_answer(server: Neo4jServer, text: str, answer: int) -> None:
    """Repeat a query in other transactions until it has this answer."""
    until(lambda: server.ask(text) == [[answer]], f"never {answer}: {text}")


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_a_circuit_is_not_seen_by_who_began_before_all_of_it_was_there(
    server: Neo4jServer, spelled: Callable[[str], str]
) -> None:
    """Otherwise it would find circuits without edges: a query reads in the order of its plan."""
    records = make_records(3)
    nodes = sum(r.circuit.n_nodes for r in records)
    url = f"{server.address}/{spelled(server.database)}"
    with open_graph(url, store_id=STORE) as graph, ThreadPoolExecutor(1) as pool:
        with reader(server) as ask:
            assert ask("MATCH (:Node)-[f:FEEDS]->() RETURN count(f)") == [[0]]
            put = pool.submit(graph.put, records, created(records))
            await_answer(server, "MATCH (n:Node) RETURN count(n)", nodes)
            assert ask(CIRCUITS) == [[0]] and graph.present() == {}
        put.result(timeout=LONG_S)
        assert_holds(graph, records)


def test_nothing_of_a_circuit_goes_before_who_met_it_has_ended(server: Neo4jServer) -> None:
    records = make_records(3)
    with open_graph(server.url, store_id=STORE) as graph, ThreadPoolExecutor(1) as pool:
        graph.put(records, created(records))
        with reader(server) as ask:
            met = [id for (id,) in ask("MATCH (c:Circuit) RETURN elementId(c)")]
            removal = pool.submit(graph.remove, [r.id for r in records])
            await_answer(server, CIRCUITS, 0)
            assert ask(HAD, ids=met) == [[sum(r.circuit.n_edges for r in records)]]
        removal.result(timeout=LONG_S)
        assert_holds(graph, [])


def test_a_query_is_asked_again_when_circuits_went_while_it_ran(server: Neo4jServer) -> None:
    """Otherwise a query that reaches a circuit from its nodes would find only some of them with a circuit."""
    records = make_records(2)
    with open_graph(server.url, store_id=STORE) as graph, ThreadPoolExecutor(1) as pool:
        graph.put(records, created(records))
        met = []

        def ask(tx: neo4j.ManagedTransaction) -> int:
            met.append(tx.run(CIRCUITS).single(strict=True)[0])
            if len(met) == 1:
                removals.append(pool.submit(graph.remove, [records[0].id]))
                await_answer(server, CIRCUITS, 1)
            return met[-1]

        removals = []
        with connected(server) as other:
            assert other.read(lambda tx: readers.undisturbed(tx, lambda: ask(tx), server.url)) == 1
        assert met == [2, 1]
        removals[0].result(timeout=LONG_S)


def test_a_query_during_which_circuits_change_each_time_raises(server: Neo4jServer) -> None:
    asked = []
    with open_graph(server.url, store_id=STORE), connected(server) as other:

        def ask(tx: neo4j.ManagedTransaction) -> None:
            asked.append(tx.run(CIRCUITS).single())
            with readers.changing(other):
                pass

        with pytest.raises(StoreBusy, match=f"each of the {readers.TRIES} times"):
            other.read(lambda tx: readers.undisturbed(tx, lambda: ask(tx), server.url))
    assert len(asked) == readers.TRIES


def test_a_query_waits_while_circuits_become_visible(server: Neo4jServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "CHANGE_S", 3600.0)
    with open_graph(server.url, store_id=STORE) as graph, ThreadPoolExecutor(1) as pool, connected(server) as other:
        assert graph.run(CIRCUITS).frame.iloc[0, 0] == 0  # planned by now
        with readers.changing(other):
            count = pool.submit(graph.run, CIRCUITS)
            with pytest.raises(TimeoutError):
                count.result(timeout=0.5)
        assert count.result(timeout=LONG_S).frame.iloc[0, 0] == 0


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_a_killed_writer_is_not_waited_for(server: Neo4jServer, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """For any change of the server's clock."""
    monkeypatch.setattr(readers, "CHANGE_S", 0.3)
    with open_graph(server.url, store_id=STORE) as graph, connected(server) as other, readers.changing(other):
        server.ask("MATCH (s:Store) SET s.changing_since_ms = timestamp() + $ms", ms=hours * 3_600_000)
        assert graph.run(CIRCUITS, timeout_s=LONG_S).frame.iloc[0, 0] == 0


def test_what_a_failed_put_left_hidden_is_in_nobodys_way(server: Neo4jServer, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_records(3)
    with open_graph(server.url, store_id=STORE) as graph:

        def refuse(self: Server, work: Callable) -> None:
            raise StoreError("the server is gone")

        write = Server.write
        with monkeypatch.context() as patch:  # from the time when all circuits are written
            patch.setattr(Readers, "await_end", lambda self: patch.setattr(Server, "write", refuse))
            with pytest.raises(StoreError, match="gone"):
                graph.put(records, created(records))
        assert Server.write is write
        assert graph.present() == {} and server.ask("MATCH (n:Node) RETURN count(n) > 0") == [[True]]
        graph.remove([])
        other = replace(records[0], n_images=records[0].n_images + 1)
        graph.put([other, records[1]], created(records))
        assert_holds(graph, [other, records[1]])


def test_what_is_lost_before_it_is_visible_is_not_taken_for_put(
    server: Neo4jServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = make_records(3)
    with open_graph(server.url, store_id=STORE) as graph:
        lose = "MATCH (c:Arriving) WITH c LIMIT 1 DETACH DELETE c"
        with monkeypatch.context() as patch:
            patch.setattr(Readers, "await_end", lambda self: server.ask(lose))
            with pytest.raises(StoreUnreachable, match="lost circuits, or what they share"):
                graph.put(records, created(records))
        assert graph.present() == {}
        graph.put(records, created(records))
        assert_holds(graph, records)


@pytest.mark.parametrize("lost", ["MATCH (n:Class) DETACH DELETE n", "MATCH (n) DETACH DELETE n"])
def test_a_database_that_is_emptied_while_circuits_are_put_is_reported(
    server: Neo4jServer, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """It is not reported as damaged: it is created again and filled, as after being emptied at another time."""
    with open_graph(server.url, store_id=STORE) as graph:
        empty = {"graph.shared.after": lambda: server.ask(lost)}
        monkeypatch.setattr(module, "fault", lambda point: empty.get(point, lambda: None)())
        with pytest.raises(StoreUnreachable, match=r"lost circuits, or what they share|holds? the graph of store"):
            graph.put(make_records(3), created(make_records(3)))
    if "Class" not in lost:
        assert server.ask("MATCH (n) RETURN count(n)") == [[0]], "what is left would be taken for another's database"


def test_the_lease_of_an_emptied_database_is_neither_read_nor_renewed_and_may_be_released(server: Neo4jServer) -> None:
    """So the writer goes on, and creates the graph again: its thread renews the lease at any instant."""
    with open_graph(server.url, store_id=STORE) as graph:
        graph.claim("first", later())
        server.empty()
        for act in (graph.lease, lambda: graph.renew("first", later()), lambda: graph.claim("first", later())):
            with pytest.raises(StoreUnreachable, match="no longer holds the graph of store"):
                act()
        graph.release("first")


def test_the_lease_is_renewed_while_a_put_waits_for_a_reader(server: Neo4jServer) -> None:
    records = make_records(3)
    with open_graph(server.url, store_id=STORE) as graph, ThreadPoolExecutor(1) as pool:
        graph.claim("first", later())
        with reader(server) as ask:
            put = pool.submit(graph.put, records, created(records))
            await_answer(server, "MATCH (n:Node) RETURN count(n)", sum(r.circuit.n_nodes for r in records))
            until = later() + 1000
            graph.claim("first", until)
            assert graph.lease() == Lease("first", until)
            assert ask(CIRCUITS) == [[0]] and not put.done()
        put.result(timeout=LONG_S)


def test_nobody_waits_for_the_transactions_of_another_writer(
    server: Neo4jServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was killed or suspended, and the server keeps its transaction and locks."""
    monkeypatch.setattr(readers, "GRACE_S", 250.0)  # waiting would end at the test's timeout
    records = make_records(3)
    with open_graph(server.url, store_id=STORE) as graph:
        graph.put(records[:2], created(records))
        graph.claim("first", 1)  # long lapsed
    auth = (server.user, server.password)
    with (
        neo4j.GraphDatabase.driver(server.address, auth=auth) as driver,
        driver.session(database=server.database) as session,
        session.begin_transaction(metadata={WRITER: "of the first"}) as tx,
    ):
        tx.run("MATCH (s:Store) SET s.epoch = -1 WITH s MATCH (c:Circuit) SET c.name = 'locked'").consume()
        with open_graph(server.url, store_id=STORE) as graph:
            graph.claim("second", later())
            graph.remove([records[0].id])
            graph.put(records, created(records))
            assert_holds(graph, records, {**created(records)})
        with pytest.raises(Neo4jError, match="terminated"):
            tx.commit()


def test_a_writer_that_holds_the_lease_is_not_disturbed_by_one_that_may_not_have_it(server: Neo4jServer) -> None:
    with open_graph(server.url, store_id=STORE) as graph, connected(server) as other:
        graph.claim("first", later())
        begun, ended = threading.Event(), threading.Event()

        def work(tx: neo4j.ManagedTransaction) -> None:
            tx.run("MATCH (s:Store) RETURN s.id").consume()
            begun.set()
            assert ended.wait(60)

        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(other.write, work)
            assert begun.wait(60)
            with open_graph(server.url, store_id=STORE) as second, pytest.raises(StoreBusy, match="first"):
                second.claim("second", later())
            ended.set()
            written.result(timeout=60)


def test_a_forgotten_transaction_holds_up_a_writer_once(server: Neo4jServer, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_records(3)
    monkeypatch.setattr(readers, "GRACE_S", 0.2)
    with open_graph(server.url, store_id=STORE) as graph, reader(server):
        graph.put(records[:1], created(records))
        monkeypatch.setattr(readers, "GRACE_S", 3600.0)  # waiting again would end at the test's timeout
        graph.put(records[1:], created(records))
        assert_holds(graph, records)
