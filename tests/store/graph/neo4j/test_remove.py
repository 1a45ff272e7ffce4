"""Transactions of a removal are bounded for circuits of any density, because the server keeps them in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import neo4j
import pytest
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.neo4j import remove
from circuitstore.store.graph.neo4j.server import rows
from circuitstore.testing.factories import make_discovery, make_item, make_record, make_records
from circuitstore.testing.graph_place import assert_holds, created

from ....neo4j_server import Neo4jServer

LINKS = "MATCH ()-[r:FEEDS|CONTAINS|HAS|INSTANCE_OF|OF_MODEL|OF_CLASS|UNDER|FOUND_BY]->() RETURN count(r)"


@pytest.fixture
def deleted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The relationships that each statement (one per transaction) of a removal deleted, as counted by the server."""
    found: list[int] = []

    def counted(tx: neo4j.ManagedTransaction, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
        result = tx.run(text, dict(params or {}))
        values = [list(record.values()) for record in result]
        found.append(result.consume().counters.relationships_deleted)
        return values

    monkeypatch.setattr(remove, "rows", counted)
    return found


@pytest.mark.parametrize("how", ["remove", "sweep"])
def test_dense_circuits_go_some_edges_at_a_time(neo4j_server: Neo4jServer, deleted: list[int], how: str) -> None:
    """Two circuits of nearly a whole model, whose few nodes have more edges than a transaction may delete."""
    neo4j_server.empty()
    found = [make_discovery(i, n_images=2, item=make_item(i, n_layers=8, n_heads=8)) for i in range(2)]
    records = [make_record(discovery, 6000) for discovery in found]
    with open_graph(neo4j_server.url, store_id="dense") as graph:
        graph.put(records, {r.id: 1 for r in records})
        links = neo4j_server.ask(LINKS)[0][0]
        assert links > sum(r.circuit.n_edges for r in records) > remove.EDGES_AT_ONCE
        deleted.clear()
        if how == "remove":
            graph.remove([r.id for r in records])
            assert sum(deleted) == links
        else:  # as a manual change may have left it
            neo4j_server.ask("MATCH (c:Circuit) DETACH DELETE c")
            assert graph.sweep() == sum(r.circuit.n_nodes for r in records)
        assert max(deleted) == remove.EDGES_AT_ONCE
        assert graph.present() == {} and neo4j_server.ask("MATCH (n:Node) RETURN count(n)") == [[0]]


def test_all_nodes_are_looked_through_as_seldom_as_possible(
    neo4j_server: Neo4jServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes without a circuit are deleted in any number of transactions; a sweep takes time linear in their number."""
    neo4j_server.empty()
    records = make_records(3)
    monkeypatch.setattr(remove, "NODES_AT_ONCE", 3)
    texts = list[str]()

    def noted(tx: neo4j.ManagedTransaction, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
        texts.append(text)
        return rows(tx, text, params)

    with open_graph(neo4j_server.url, store_id="strays") as graph:
        graph.put(records, created(records))
        neo4j_server.ask("MATCH (c:Circuit) WHERE c.id <> $id DETACH DELETE c", id=records[0].id)
        strays = sum(r.circuit.n_nodes for r in records[1:])
        monkeypatch.setattr(remove, "rows", noted)
        assert graph.sweep() == strays > 3 * remove.NODES_AT_ONCE
        assert sum("UNWIND $ids" not in text and "NOT EXISTS" in text for text in texts) == 2
        assert_holds(graph, records[:1])
