from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from circuitstore.store.graph.neo4j import readers
from circuitstore.testing.graph_contract import GraphContract
from circuitstore.testing.graph_machine import graph_machine
from circuitstore.testing.graph_place import GraphPlace
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from ....neo4j_server import Neo4jServer


def emptied(server: Neo4jServer) -> GraphPlace:
    """The server's only database."""
    server.empty()
    return GraphPlace(server.url)


class Neo4jContract(GraphContract):
    """The contract on the server of the fixture `server`."""

    faults_of_put = (
        "graph.shared.before",
        "graph.shared.after",
        "graph.commit.before",
        "graph.commit.after",
        "graph.publish.before",
        "graph.publish.after",
        "graph.changing.after",
    )
    faults_of_remove = (  # hiding; deleting edges, nodes, similarities, circuits
        "graph.hide.before",
        "graph.hide.after",
        "graph.remove.before",
        "graph.remove.after:2",
        "graph.remove.before:4",
    )
    faults_of_clear = ("graph.remove.after",)
    faults_of_set_similar = ("graph.changing.after", "graph.similar.before", "graph.similar.after")
    faults_of_set_notes = ("graph.changing.after", "graph.notes.before", "graph.notes.after")

    @pytest.fixture
    def server(self) -> Neo4jServer:
        raise NotImplementedError("a subclass gives the fixture `server`")

    @pytest.fixture
    def place(self, server: Neo4jServer, monkeypatch: pytest.MonkeyPatch) -> GraphPlace:
        monkeypatch.setattr(readers, "CHANGE_S", 0.3)  # readers wait for this time after each such kill
        return emptied(server)

    @pytest.fixture
    def foreign(self, server: Neo4jServer) -> Iterator[GraphPlace]:
        place = emptied(server)
        server.ask("CREATE (:Person {name: 'Ada'})")
        yield place
        server.empty()


class TestNeo4j(Neo4jContract):
    @pytest.fixture
    def server(self, neo4j_server: Neo4jServer) -> Neo4jServer:
        return neo4j_server


def test_compared_with_a_dictionary(neo4j_server) -> None:
    @contextmanager
    def new_place() -> Iterator[GraphPlace]:
        yield emptied(neo4j_server)

    few = settings(max_examples=6, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(graph_machine(new_place), settings=few)
