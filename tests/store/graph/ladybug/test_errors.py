"""Messages of failing queries: similar names, positions, and the page to read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from circuitstore.errors import QueryFailed
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.contract import GraphBackend
from circuitstore.testing.graph_place import STORE

from ....waiting import LONG_S


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphBackend]:
    url = f"ladybug://{tmp_path_factory.mktemp('graph') / 'graph.lbdb'}"
    open_graph(url, store_id=STORE).close()
    with open_graph(url, store_id=STORE, read_only=True) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MATCH (c:Circut) RETURN c.id", "unknown label or type 'Circut'; did you mean 'Circuit'"),
        ("MATCH (c:Circuit)-[:HASS]->(n) RETURN n.name", "did you mean 'HAS'"),
        ("MATCH (c:Circuit)\nWHERE c.faithfullness > 0 RETURN c.id", "c: unknown property 'faithfullness'; did you"),
        ("MATCH (a)-[f:FEEDS]->(b) RETURN f.n_edges", "(valid: edge, frequency, port, rank, score, std)"),
        ("MATCH (x) RETURN x.n_edge", "did you mean 'n_edges'"),
        ("MATCH (c:Circuit)\nRETURN (c", "line 2, column"),
        (
            "MATCH (c:Circuit) RETURN c.id AS order",
            "line 1, column 34, in 'MATCH (c:Circuit) RETURN c.id AS order': mismatched input 'order'; see",
        ),
        (
            "MATCH (c:Circuit) RETURN sum(c.id)",
            "SUM did not receive correct arguments: Actual: (STRING); see circuitstore docs",
        ),
    ],
)
def test_a_failing_query_names_existing_names(graph: GraphBackend, text: str, message: str) -> None:
    with pytest.raises(QueryFailed) as caught:
        graph.run(text)
    assert message in str(caught.value) and "circuitstore docs" in str(caught.value)
    assert "exception" not in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert len(graph.run("MATCH (c:Circuit) RETURN c.id")) == 0


@pytest.mark.slow
def test_a_query_that_needs_too_much_memory_suggests_how_to_reduce_it(graph: GraphBackend) -> None:
    with pytest.raises(QueryFailed, match=r"memory.*hops.*LIMIT"):
        graph.run("UNWIND range(1, 90000) AS a UNWIND range(1, 90000) AS b RETURN collect([a, b])", timeout_s=LONG_S)
