# pyright: reportAttributeAccessIssue=false
"""Tests of a Neo4j server in addition to the contract: databases of others, accounts, kills, damage."""

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import neo4j
import pytest
from circuitstore.errors import (
    InputError,
    QueryFailed,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreUnreachable,
    StoreVersion,
)
from circuitstore.query import named_queries
from circuitstore.store.graph import migrate_graph, open_graph, recreate_graph
from circuitstore.store.graph.migrations import migrations
from circuitstore.store.graph.neo4j.account import Account
from circuitstore.store.graph.neo4j.load import create_circuits, create_shared, load_rows
from circuitstore.store.graph.neo4j.server import Server
from circuitstore.store.graph.tables import unpacked
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, assert_holds, created, later
from circuitstore.testing.killing import killed_at
from pandas.testing import assert_frame_equal

from ....waiting import LONG_S

RECORDS = make_records(6)
TIMES = created(RECORDS)
PASSWORD = "CIRCUITSTORE_NEO4J_PASSWORD"


@pytest.fixture
def server(neo4j_server):
    neo4j_server.empty()
    return neo4j_server


def opened(server, **kwargs):
    return open_graph(server.url, store_id=STORE, **kwargs)


def filled(server, count: int = 4) -> None:
    with opened(server) as graph:
        graph.put(RECORDS[:count], TIMES)


def test_the_schema_has_its_constraints_and_the_index_of_edges(server):
    server.strip()
    filled(server, 1)
    unique = server.ask("SHOW CONSTRAINTS YIELD type, labelsOrTypes, properties RETURN labelsOrTypes[0], properties[0]")
    expected = {"Model": "id", "Dataset": "name", "Circuit": "id", "Note": "id"}
    expected |= {"Store": "singleton", "Migration": "version"}
    expected |= dict.fromkeys(["Class", "Condition", "Recipe", "Component", "Node"], "key")
    assert dict(unique) == expected
    shown = server.ask("SHOW INDEXES YIELD labelsOrTypes, properties, owningConstraint WHERE owningConstraint IS NULL")
    assert [["FEEDS"], ["edge"], None] in shown
    known = migrations("neo4j")
    assert server.ask("MATCH (s:Store) RETURN s.id, s.schema") == [[STORE, known[-1].version]]
    recorded = server.ask("MATCH (m:Migration) RETURN m.version, m.name, m.checksum ORDER BY m.version")
    assert recorded == [[m.version, m.name, m.checksum] for m in known]


@pytest.mark.parametrize("name", ["difference-of-two", "edges-of-circuit"])
def test_rows_that_are_sent_in_one_keep_what_is_missing(server, name):
    """A circuit of a method without scores, together with one with scores."""
    unscored = replace(RECORDS[1], circuit=replace(RECORDS[1].circuit, score=None, std=None))
    records = [RECORDS[0], replace(unscored, frequency=None, full_in=None, full_out=None)]
    query = named_queries()[name]
    values = {"a": records[0].id, "b": records[1].id, "circuit": records[1].id}
    values = {p.name: values[p.name] for p in query.parameters}
    with opened(server) as graph:
        graph.put(records, TIMES)
        expected = graph.run(query.text, values).frame
        given = unpacked(graph.run(query.packed[graph.engine], {**values, "max_rows": 1_000}), 999).frame
    assert_frame_equal(given, expected)
    assert 0 < expected["score"].isna().sum() <= len(expected)


ENDLESS = "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b WITH a WHERE a < 0 RETURN count(*)"


@pytest.mark.parametrize("asked", ["query", "transaction"])
def test_a_termination_by_an_administrator_is_reported(server, asked):
    filled(server, 1)
    with opened(server) as graph, ThreadPoolExecutor(1) as other:
        if asked == "query":
            going = other.submit(graph.run, ENDLESS, timeout_s=LONG_S)
            error, message = QueryFailed, r"administrator of the server terminated the query; narrow it"
        else:
            work = neo4j.unit_of_work(timeout=LONG_S)(lambda tx: tx.run(ENDLESS).consume())
            going = other.submit(graph._server.read, work)
            error, message = StoreUnreachable, r"^bolt:.*administrator.*terminated.*undone; run the same command again"
        text = "SHOW TRANSACTIONS YIELD transactionId, currentQuery WHERE currentQuery = $endless RETURN transactionId"
        while not (found := server.ask(text, endless=ENDLESS)):
            assert not going.done()
        server.ask("TERMINATE TRANSACTION $id", id=found[0][0])
        with pytest.raises(error, match=message):
            going.result(timeout=LONG_S)
        assert len(graph.present()) == 1


BROKEN = {
    "constraint dropped": ("DROP CONSTRAINT circuitstore_circuit", "the constraint circuitstore_circuit on Circuit.id"),
    "index dropped": ("DROP INDEX circuitstore_feeds_edge", "the index circuitstore_feeds_edge on FEEDS.edge"),
    "another in its place": (
        "CREATE INDEX circuitstore_node FOR (n:Node) ON (n.name)",
        "the constraint circuitstore_node on Node.key",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_dropped_constraint_or_index_is_named_and_created_again(server, how):
    filled(server, 1)
    broken, message = BROKEN[how]
    if how == "another in its place":
        server.ask("DROP CONSTRAINT circuitstore_node")
    server.ask(broken)
    for read_only in (False, True):
        with pytest.raises(StoreVersion, match=rf"schema version \d.*{message}; .*circuitstore migrate"):
            opened(server, read_only=read_only)
    assert migrate_graph(server.url, store_id=STORE) == (message,)
    with opened(server) as graph:
        assert_holds(graph, RECORDS[:1], TIMES)
    assert migrate_graph(server.url, store_id=STORE) == ()


def test_a_constraint_that_cannot_come_back_is_mended_by_a_rebuild(server):
    filled(server, 1)
    server.ask("DROP CONSTRAINT circuitstore_circuit")
    server.ask("MATCH (c:Circuit) CREATE (:Circuit {id: c.id, sha256: c.sha256})")
    with pytest.raises(StoreError, match=r"circuitstore rebuild"):
        migrate_graph(server.url, store_id=STORE)
    with recreate_graph(server.url, store_id=STORE) as graph:
        assert graph.present() == {}
        graph.put(RECORDS[:1], TIMES)
        assert_holds(graph, RECORDS[:1], TIMES)


@pytest.mark.parametrize("point", ["graph.create.before", "graph.create.after"])
def test_killed_while_it_is_made_it_is_made_again(server, point):
    server.strip()
    killed_at(point, "open", server.url, STORE, 0)
    with opened(server) as graph:
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE (:Person {name: 'Ada'})",
        "CREATE (:Store {id: 'corner shop'})",
        "CREATE CONSTRAINT theirs FOR (p:Person) REQUIRE p.name IS UNIQUE",
        "CREATE INDEX theirs FOR (p:Person) ON (p.name)",
    ],
)
def test_a_strangers_database_is_left_as_it_is(server, read_only, theirs):
    server.strip()
    server.ask(theirs)
    count = "MATCH (n) RETURN count(n)"
    before = server.ask(count), server.ask("SHOW INDEXES YIELD name")
    for attempt in (opened, lambda server, **_: migrate_graph(server.url, store_id=STORE)):
        with pytest.raises(StoreForeign, match="not a graph of circuits"):
            attempt(server, read_only=read_only)
    assert (server.ask(count), server.ask("SHOW INDEXES YIELD name")) == before
    server.strip()


def test_an_empty_database_raises_for_a_reader(server):
    with pytest.raises(StoreError, match=r"no graph at bolt://.*circuitstore rebuild"):
        opened(server, read_only=True)
    assert server.ask("MATCH (n) RETURN count(n)") == [[0]]


def test_a_schema_of_the_future_is_refused_and_can_be_created_again(server):
    filled(server)
    server.ask("CREATE (:Migration {version: 99, name: 'from_the_future', checksum: 'x'})")
    for read_only in (False, True):
        with pytest.raises(StoreVersion, match=r"version 99.*versions up to \d+.*circuitstore rebuild"):
            opened(server, read_only=read_only)
    with pytest.raises(StoreVersion):
        migrate_graph(server.url, store_id=STORE)
    with pytest.raises(StoreForeign, match="belongs to store"):
        recreate_graph(server.url, store_id="another")
    with recreate_graph(server.url, store_id=STORE) as graph:
        assert graph.present() == {} and "version 99" in graph.notices[0]
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)


def test_an_older_schema_is_migrated_but_not_under_a_writer(server):
    filled(server)
    server.ask("MATCH (m:Migration) DELETE m")
    with pytest.raises(StoreVersion, match=r"version 0.*needs \d+.*circuitstore migrate"):
        opened(server)
    server.ask("MATCH (s:Store) SET s.lease_owner = 'somebody', s.lease_until_ms = $until", until=later())
    with pytest.raises(StoreBusy, match="somebody"):
        migrate_graph(server.url, store_id=STORE)
    server.ask("MATCH (s:Store) SET s.lease_owner = null")
    assert migrate_graph(server.url, store_id=STORE) == tuple(f"{m.version:04d}_{m.name}" for m in migrations("neo4j"))
    assert migrate_graph(server.url, store_id=STORE) == ()
    with opened(server) as graph:
        assert_holds(graph, RECORDS[:4], TIMES)


def test_what_nobody_has_is_swept(server):
    filled(server)
    server.ask("CREATE (:Node {key: 'stray/m0'})-[:FEEDS {edge: 'm0->m1'}]->(:Node {key: 'stray/m1'})")
    with opened(server) as graph:
        assert graph.sweep() == 2
        assert_holds(graph, RECORDS[:4], TIMES)


def test_circuits_whose_shared_nodes_are_missing_are_not_half_made(server):
    with opened(server) as graph:
        link = Server(server.url, Account.of_environment())
        load = load_rows(RECORDS[:2], TIMES)
        with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
            link.write(lambda tx: create_circuits(tx, load))
        link.write(lambda tx: create_shared(tx, RECORDS[:2]))
        server.ask("MATCH (k:Component {name: 'input'}) DETACH DELETE k")
        with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
            link.write(lambda tx: create_circuits(tx, load))
        link.close()
        assert graph.present() == {} and graph.sweep() == 0


def test_who_has_met_a_circuit_sees_it_whole_while_it_is_removed(server):
    filled(server)
    count = "MATCH (c) WHERE elementId(c) IN $ids MATCH (c)-[:HAS]->(:Node)-[f:FEEDS]->() RETURN count(f) AS edges"
    with (
        opened(server) as writer,
        neo4j.GraphDatabase.driver(server.address, auth=(server.user, server.password)) as driver,
        driver.session(database=server.database) as session,
        session.begin_transaction() as reader,
    ):
        met = [row["id"] for row in reader.run("MATCH (c:Circuit) RETURN elementId(c) AS id")]
        removal = threading.Thread(target=writer.remove, args=([r.id for r in RECORDS[:4]],))
        removal.start()
        while writer.present():
            time.sleep(0.01)
        time.sleep(0.2)  # it would continue during this time if it did not wait
        (row,) = reader.run(count, ids=met)
        assert removal.is_alive() and row["edges"] == sum(r.circuit.n_edges for r in RECORDS[:4])
        reader.commit()
        removal.join()
        assert_holds(writer, [])


def test_the_account_comes_from_the_environment_and_is_never_shown(server, monkeypatch):
    filled(server)
    secret = os.environ[PASSWORD]
    with opened(server) as graph:
        assert secret not in f"{graph!r} {graph.url} {vars(graph)} {vars(graph._server)}"
    monkeypatch.setenv(PASSWORD, "wrong-secret")
    with pytest.raises(StoreError, match=r"refuses user 'neo4j'.*CIRCUITSTORE_NEO4J_PASSWORD") as refused:
        opened(server)
    assert "wrong-secret" not in str(refused.value)
    monkeypatch.delenv(PASSWORD)
    with pytest.raises(StoreError, match=r"refuses user"):
        opened(server)


def test_a_missing_password_is_called_so(server, monkeypatch):
    monkeypatch.delenv("CIRCUITSTORE_NEO4J_PASSWORD")
    with pytest.raises(StoreError, match=r"refuses user .*: no password was given; .*CIRCUITSTORE_NEO4J_PASSWORD"):
        opened(server)


def test_a_missing_database_raises(server):
    with pytest.raises(StoreError, match=r"no database 'elsewhere'"):
        open_graph(f"{server.address}/elsewhere", store_id=STORE)


def test_the_database_may_be_left_out_and_routing_used(server):
    filled(server)
    for url in (server.address, server.url.replace("bolt:", "neo4j:")):
        with open_graph(url, store_id=STORE, read_only=True) as graph:
            assert_holds(graph, RECORDS[:4], TIMES)


def test_an_unreachable_server_raises():
    for scheme in ("bolt", "neo4j", "neo4j+s"):
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:9.* cannot be reached"):
            open_graph(f"{scheme}://127.0.0.1:9/neo4j", store_id=STORE)


@pytest.mark.parametrize(
    "url",
    ["bolt://:7687/neo4j", "bolt://host:port/neo4j", "bolt://host/a/b", "bolt://host/system", "neo4j://host?x=1"],
)
def test_a_url_that_names_no_database_is_refused(url):
    with pytest.raises(InputError, match=re.escape(url)):
        open_graph(url, store_id=STORE)


@pytest.mark.parametrize("scheme", ["bolt", "neo4j+s", "neo4js"])
@pytest.mark.parametrize("account", ["ada:se/cret", "ada:secret", "ada"])
def test_a_url_with_an_account_is_refused_without_repeating_it(scheme, account):
    with pytest.raises(InputError, match="CIRCUITSTORE_NEO4J_PASSWORD") as refused:
        open_graph(f"{scheme}://{account}@host/neo4j", store_id=STORE)
    assert "ada" not in str(refused.value) and "cret" not in str(refused.value)


def test_a_query_that_needs_too_much_memory_is_ended(server):
    with opened(server) as graph:
        with pytest.raises(QueryFailed, match="more memory"):
            graph.run("UNWIND range(1, 100000000) AS i RETURN collect('x' + i)")
        assert graph.run("RETURN 1 AS one").to_pandas()["one"].tolist() == [1]


def test_a_server_that_goes_away_and_comes_back(server):
    """Commits persist, and a graph that was open before can still be used."""
    if not hasattr(server, "kill"):
        pytest.skip("the server was not started by the tests")
    with opened(server) as graph, opened(server, read_only=True) as reader:
        graph.put(RECORDS[:2], TIMES)
        server.kill()
        with pytest.raises(StoreError, match="cannot be reached"):
            opened(server)
        server.start()
        assert_holds(reader, RECORDS[:2])
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)
