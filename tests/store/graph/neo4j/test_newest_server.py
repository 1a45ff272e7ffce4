"""The newest series of Neo4j passes the same contract."""

import pytest
from circuitstore.errors import QueryFailed, StoreForeign
from circuitstore.store.graph import open_graph
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, assert_holds, created

from .test_contract import Neo4jContract


@pytest.fixture
def newest(newest_neo4j, monkeypatch):
    monkeypatch.setenv("CIRCUITSTORE_NEO4J_USER", newest_neo4j.user)
    monkeypatch.setenv("CIRCUITSTORE_NEO4J_PASSWORD", newest_neo4j.password)
    newest_neo4j.empty()
    return newest_neo4j


class TestNewestNeo4j(Neo4jContract):
    @pytest.fixture
    def server(self, newest):
        return newest


def test_it_is_the_newest(newest):
    ((version,),) = newest.ask(
        "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0]"
    )
    assert version.startswith("2026.")


def test_every_path_of_a_graph_works(newest):
    """Create a graph, reject one with other data, and report the mistake in a query."""
    newest.strip()
    newest.ask("CREATE (:Person {name: 'Ada'})")
    with pytest.raises(StoreForeign):
        open_graph(newest.url, store_id=STORE)
    newest.strip()
    records = make_records(2)
    with open_graph(newest.url, store_id=STORE) as graph:
        graph.put(records, created(records))
        assert_holds(graph, records)
        with pytest.raises(QueryFailed, match=r"line 1, column 26, in .*Unknown function 'pow'; see circuitstore docs"):
            graph.run("MATCH (c:Circuit) RETURN pow(2, 3)")
