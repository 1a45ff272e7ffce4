"""Names and parameters of queries: refused alike for both engines, with the place; what is right is let through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from circuitstore.errors import InputError, QueryFailed
from circuitstore.query.named import named_queries
from circuitstore.store.cypher.names import check_names, check_parameters
from circuitstore.store.cypher.schema import NODES, RELATIONSHIPS
from circuitstore.store.cypher.tokens import tokenize
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.contract import GraphBackend


def rows(graph: GraphBackend, text: str) -> list[list[str]]:
    return graph.run(text).to_pandas().to_numpy().tolist()


def test_the_schema_is_the_embedded_engines(tmp_path: Path) -> None:
    url = f"ladybug://{tmp_path / 'graph.lbdb'}"
    with open_graph(url, store_id="store") as graph:
        tables = dict(rows(graph, "CALL show_tables() RETURN name, type"))
        found = {name: {row[0] for row in rows(graph, f"CALL table_info('{name}') RETURN name")} for name in tables}
    assert {name for name, kind in tables.items() if kind == "NODE"} == set(NODES)
    assert {name for name, kind in tables.items() if kind == "REL"} == set(RELATIONSHIPS)
    assert found == {name: set(of) for name, of in {**NODES, **RELATIONSHIPS}.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MATCH (c:Circut) RETURN c.id", "line 1, column 10: unknown label 'Circut'; did you mean 'Circuit'"),
        ("MATCH (c:circuit) RETURN c.id", "did you mean 'Circuit'"),
        ("MATCH (c:HAS) RETURN c.id", "unknown label 'HAS'"),
        ("MATCH (c:Circuit)-[:HASS]->(n) RETURN n.name", "unknown type of relationship 'HASS'; did you mean 'HAS'"),
        ("MATCH ()-[:FEEDS|CONTAIN*1..3]->(n) RETURN n.name", "did you mean 'CONTAINS'"),
        ("MATCH (c:Circuit)\nWHERE c.faithfullness > 0 RETURN c.id", "line 2, column 9: unknown property of c"),
        ("MATCH (a)-[f:FEEDS]->(b) RETURN f.n_edges", "(valid: edge, frequency, port, rank, score, std)"),
        ("MATCH (x) RETURN x.n_edge", "did you mean 'n_edges'"),
        ("MATCH (c:Circuit {klass: $k}) RETURN c.id", "unknown property 'klass'; did you mean 'class'"),
        ("MATCH (c:Circuit) WITH c AS d RETURN d.naem", "unknown property of d 'naem'"),
        ("MATCH (c:Circuit) WHERE EXISTS { MATCH (c)-[:HAS]->(n:Node {nam: 'x'}) } RETURN c.id", "did you mean 'name'"),
        ("MATCH (c:Circuit) RETURN c.`clas`", "did you mean 'class'"),
        ("MATCH (c:Circuit) RETURN c.id AS i UNION MATCH (c:Class) RETURN c.n_edges AS i", "property of c 'n_edges'"),
    ],
)
def test_what_is_not_in_the_schema_is_named(text: str, message: str) -> None:
    with pytest.raises(QueryFailed, match=re.escape(message)) as failed:
        check_names(tokenize(text))
    assert "circuitstore docs graph" in str(failed.value) and len(str(failed.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (c:Circuit {class: $class})-[:HAS]->(n:Node {name: 'input'})-[f:FEEDS]->(m) RETURN f.score, m.full_in",
        "MATCH (c:Circuit) WITH {a: c.id, b: 1} AS m RETURN m.a, m.b",
        "UNWIND $rows AS r RETURN r.anything, r.else",
        "MATCH p = (:Node)-[f:FEEDS|CONTAINS*1..3]->(n) RETURN length(p), n.key",
        "MATCH (c:Circuit) WHERE (c.n_edges + 1) * (c.n_nodes) > 3 AND NOT (c.id) IN $ids RETURN count(c)",
        "MATCH (s:Store) MATCH (m:Migration) RETURN s.schema, m.checksum",
        "MATCH (n) WHERE (n:Circuit) OR (n:Model) RETURN n.n_edges, n.n_layers",
        "MATCH (n:Circuit|Model) RETURN n.n_layers, n.n_edges",
        "MATCH (c:Circuit) WITH c.class AS c RETURN c",
        "MATCH (c:Circuit) RETURN c.id AS id UNION MATCH (c:Class) RETURN c.key AS id",
        "MATCH (c:Circuit) RETURN CASE WHEN c.n_edges > 3 THEN 'a:Circut' ELSE `c`.id END // :Circut",
        *(pytest.param(q.text, id=name) for name, q in named_queries().items()),
    ],
)
def test_what_is_right_is_let_through(text: str) -> None:
    check_names(tokenize(text))


def test_every_parameter_has_a_value_and_every_value_a_parameter() -> None:
    text = "MATCH (c:Circuit {class: $class}) WHERE c.n_edges > $least // $no\nRETURN '$neither', c.id"
    check_parameters(tokenize(text), {"class": "3", "least": 4})
    with pytest.raises(InputError, match=r"no value for class, least.*--param class="):
        check_parameters(tokenize(text), {})
    with pytest.raises(InputError, match=r"unknown parameter 'clas'; did you mean 'class'"):
        check_parameters(tokenize(text), {"clas": 3, "least": 4})
