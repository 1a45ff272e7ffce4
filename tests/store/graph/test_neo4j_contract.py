from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.contract import GraphBackend
from circuitstore.testing.graph_contract import STORE, GraphContract
from circuitstore.testing.graph_machine import graph_machine
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test


class Neo4jPlace:
    """The server's one database, emptied."""

    def __init__(self, server: Any) -> None:
        server.empty()
        self.url = server.url

    def open(self, *, store_id: str = STORE, read_only: bool = False) -> GraphBackend:
        return open_graph(self.url, store_id=store_id, read_only=read_only)


class TestNeo4j(GraphContract):
    faults_of_put = ("graph.shared.before", "graph.shared.after", "graph.commit.before", "graph.commit.after")
    faults_of_remove = (  # hiding; deleting the nodes, the circuits
        "graph.remove.before",
        "graph.remove.after",
        "graph.remove.before:2",
        "graph.remove.after:3",
    )

    @pytest.fixture
    def place(self, neo4j_server):
        return Neo4jPlace(neo4j_server)


def test_driven_beside_a_dictionary(neo4j_server) -> None:
    @contextmanager
    def new_place() -> Iterator[Neo4jPlace]:
        yield Neo4jPlace(neo4j_server)

    few = settings(max_examples=10, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(graph_machine(new_place), settings=few)
