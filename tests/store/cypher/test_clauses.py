"""What the engines would answer differently raises an error with its place and what to write instead."""

from __future__ import annotations

import re
from typing import Any

import pytest
from circuitstore.errors import QueryFailed
from circuitstore.query.named import named_queries
from circuitstore.store.cypher.clauses import read
from circuitstore.store.cypher.kinds import ALWAYS_THERE, PROPERTIES, TEXT
from circuitstore.store.cypher.schema import NODES, RELATIONSHIPS
from circuitstore.store.cypher.tokens import tokenize

from ...query.harmless import HARMLESS

C = "MATCH (c:Circuit) "
N = "MATCH (c:Circuit)-[:HAS]->(n:Node) "

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # kinds that are compared
    (
        "MATCH (c:Circuit {class: $k}) RETURN c.id",
        {"k": 3},
        "line 1, column 19: class is a text, and $k a whole number",
    ),
    ("MATCH (c:Circuit {class_index: '3'}) RETURN c.id", {}, "class_index is a whole number, and '3' a text"),
    (C + "WHERE c.class = 3 RETURN c.id", {}, "write a text in quotes"),
    (C + "WHERE c.class > $k RETURN c.id", {"k": 1}, "$k a whole number"),
    (C + "WHERE c.class IN $k RETURN c.id", {"k": [3, 8]}, "$k a list of whole numbers"),
    (C + "WHERE c.n_edges IN ['3'] RETURN c.id", {}, "['3'] a list of texts"),
    (C + "WITH c.class AS k WHERE k > 3 RETURN k", {}, "k is a text, and 3 a whole number"),
    (C + "WITH collect(c.n_edges) AS all UNWIND all AS x WITH x WHERE x = 'a' RETURN x", {}, "x is a whole number"),
    (C + "WHERE c.faithfulness = true RETURN c.id", {}, "faithfulness is a number, and true a truth value"),
    (C + "WHERE EXISTS { MATCH (c)-[:HAS]->(n:Node) WHERE n.layer = 'a' } RETURN c.id", {}, "and 'a' a text"),
    (C + "WHERE c.n_edges STARTS WITH 'a' RETURN c.id", {}, "STARTS takes a text, and c.n_edges is a whole number"),
    (C + "WHERE c.class RETURN c.id", {}, "a condition takes a truth value, and c.class is a text"),
    (C + "WHERE NOT c.n_edges RETURN c.id", {}, "NOT takes a truth value"),
    (C + "RETURN c.class + 1", {}, "+ takes numbers, and c.class is a text"),
    (C + "RETURN c.class - 1", {}, "- takes numbers, and c.class is a text"),
    (C + "RETURN sum(c.class)", {}, "sum( takes numbers"),
    ("RETURN [1, 'a'] AS x", {}, "a list has values of one kind"),
    ("RETURN 1 + null AS x", {}, "null is a null"),
    # one expression of two kinds, which LadybugDB rounds
    (C + "RETURN CASE WHEN c.n_edges > 3 THEN 1 ELSE 2.5 END", {}, "1 is a whole number, and 2.5 a number: write 1.0"),
    (C + "RETURN coalesce(c.faithfulness, 0)", {}, "write 1.0 for 1"),
    (C + "RETURN CASE c.n_edges WHEN 2.5 THEN 'a' ELSE 'b' END", {}, "CASE is a whole number, and 2.5 a number"),
    (C + "RETURN CASE c.class WHEN c.condition THEN 1 ELSE 0 END", {}, "CASE WHEN … = c.condition"),
    (C + "RETURN CASE WHEN c.n_edges > 3 THEN null END", {}, "CASE is always null"),
    ("RETURN 1 AS x UNION RETURN 2.5 AS x", {}, "column x is whole number before UNION and number after it"),
    ("RETURN null AS x UNION RETURN 1 AS x", {}, "column x is null before UNION"),
    # null
    (C + "WHERE c.class IN $k RETURN c.id", {"k": ["a", None]}, "IN takes a list of values without null"),
    (C + "WHERE c.class IN ['a', null] RETURN c.id", {}, "without null"),
    (N + "WHERE 1 IN [n.layer] RETURN c.id", {}, "without null"),
    (C + "RETURN count(null)", {}, "null is always null"),
    (C + "RETURN max($k)", {"k": None}, "$k is always null"),
    (N + "RETURN c.class + $k", {"k": None}, "$k may be null"),
    ("MATCH (c:Circuit) OPTIONAL MATCH (c)-[:HAS]->(n:Node) RETURN c.class + n.name", {}, "coalesce(n.name, '')"),
    (C + "WHERE c.class CONTAINS '' RETURN c.id", {}, "that is not empty"),
    (C + "WHERE c.class CONTAINS $k RETURN c.id", {"k": ""}, "that is not empty"),
    (C + "WHERE c.class CONTAINS c.condition RETURN c.id", {}, "that is not empty"),
    # division, precedence, order
    (C + "RETURN c.n_edges / c.n_nodes", {}, "write 1.0 * c.n_edges / c.n_nodes"),
    (C + "RETURN c.n_edges % $k", {"k": 0}, "division of whole numbers fails"),
    (C + "WHERE 1 < c.n_edges < 3 RETURN c.id", {}, "in brackets"),
    (C + "WHERE c.n_edges + 1 IN [3] RETURN c.id", {}, "put c.n_edges + 1 in brackets before IN"),
    (C + "WHERE c.class STARTS WITH 'a' + 'b' RETURN c.id", {}, "put 'a' + 'b' in brackets"),
    (C + "RETURN --c.n_edges", {}, "after a sign"),
    (C + "RETURN collect(c.id) AS ids ORDER BY ids", {}, "ids is a list of texts, which has no order"),
    (C + "RETURN c ORDER BY c", {}, "c is a node, relationship or path, which has no order"),
    (C + "WITH collect(c.id) AS ids RETURN ids[0]", {}, "counts the elements of a list from 1"),
    ("RETURN 9223372036854775808 AS x", {}, "too large"),
    ("RETURN 1e400 AS x", {}, "too large"),
    # relationships that may be one
    ("MATCH (a:Node)-[f:FEEDS]->(b)<-[g:FEEDS]-(d) RETURN a.name", {}, "column 30: two relationships of this MATCH"),
    ("MATCH (a)-[:FEEDS]->(b), (c)-[:FEEDS|CONTAINS]->(d) RETURN a.name", {}, "into a separate MATCH"),
    ("MATCH (a)-[f:FEEDS]-(b)-[g]->(c) RETURN a.name", {}, "into a separate MATCH"),
    ("MATCH (a)-[:FEEDS*1..3]-(b) RETURN a.name", {}, "needs a direction"),
    # similarities form cycles
    ("MATCH (a)-[:SIMILAR]->(b)-[:SIMILAR]->(c)-[:SIMILAR]->(d) RETURN a.id", {}, "column 42: two relationships"),
    ("MATCH (a)<-[:SIMILAR*1..2]-(b)<-[:SIMILAR]-(c) RETURN a.id", {}, "column 31: two relationships"),
    ("MATCH (a)-[:SIMILAR*1..3]->(b) RETURN a.id", {}, "column 10: a path of more than two SIMILAR"),
    ("MATCH (a)-[:HAS|SIMILAR*3]->(b) RETURN a.id", {}, "write *1..2"),
    ("MATCH (a)-[*2..]->(b) RETURN a.id", {}, "name its types if they are others"),
    ("MATCH (a)-[:SIMILAR*]->(b) RETURN a.id", {}, "more than two SIMILAR"),
]


@pytest.mark.parametrize(("text", "params", "message"), REFUSED)
def test_what_the_engines_take_differently_is_refused(text: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryFailed, match=re.escape(message)) as refused:
        read(tokenize(text), params)
    assert str(refused.value).startswith("line ") and len(str(refused.value).splitlines()) == 1


LET_THROUGH: list[tuple[str, dict[str, Any]]] = [
    ("MATCH (c:Circuit {class: $k, n_edges: $n}) RETURN c.id", {"k": "3", "n": 3.0}),
    (C + "WHERE c.class IN $k AND c.n_edges >= 2.5 RETURN c.id", {"k": ["3"]}),
    (C + "WHERE c.class = null OR c.class IN $k RETURN c.id", {"k": None}),
    (C + "WHERE (c.n_edges + 1) IN [3, 4.5] RETURN c.id", {}),
    (C + "RETURN 1.0 * c.n_edges / c.n_nodes, c.n_edges / 2, c.n_edges % $k, -c.n_edges ^ 2", {"k": 2}),
    (C + "RETURN c.class + '/' + c.condition + coalesce(toLower(c.attack), '')", {}),
    (C + "RETURN CASE WHEN c.n_edges > 3 THEN 1.0 ELSE c.faithfulness END, coalesce(c.faithfulness, 0.0)", {}),
    (C + "RETURN CASE c.class WHEN 'a' THEN 1 WHEN $k THEN 2 END", {"k": "b"}),
    (C + "RETURN 1 AS x UNION ALL MATCH (c:Circuit) RETURN c.n_edges AS x", {}),
    ("UNWIND [2, null, 1] AS x RETURN x ORDER BY x DESC", {}),
    ("UNWIND $rows AS r RETURN r.class + 1, r.x = 'a'", {"rows": [{"class": 1, "x": "a"}]}),
    (C + "WITH {class: 3} AS c RETURN c.class + 1", {}),
    ("MATCH (a:Node)-[f:FEEDS]->(b)-[g:FEEDS]->(d)-[h:FEEDS]->(e) RETURN a.name", {}),
    ("MATCH (a)<-[:FEEDS]-(b)<-[:FEEDS]-(d) RETURN a.name", {}),
    ("MATCH (a)-[:FEEDS]->(b) MATCH (d)-[:FEEDS]->(b) RETURN a.name", {}),
    ("MATCH (a)-[:SIMILAR]->(b)-[:SIMILAR]->(c)-[:HAS]->(n)-[:FEEDS]->(m) RETURN a.id", {}),
    ("MATCH (a)-[:SIMILAR*1..2]->(b) MATCH (b)-[:SIMILAR*..2]->(c) RETURN a.id", {}),
    ("MATCH (a)-[:FEEDS*]->(b) RETURN a.name", {}),
    ("MATCH (c:Circuit)-[:HAS]->(n)-[:FEEDS]->(m), (c)-[:OF_CLASS]->(k) RETURN k.name", {}),
    ("MATCH p = (a)-[:FEEDS|CONTAINS*1..3]->(b) WHERE (a)-[:FEEDS]->(:Node) RETURN length(p) + 1", {}),
    (C + "WHERE (c.faithfulness) - (-c.n_edges) < -c.retention RETURN c.id", {}),
    (C + "WHERE (c.faithfulness) < -c.retention AND c:Circuit RETURN c.id", {}),
    (C + "WHERE any(x IN [1, 2] WHERE x = c.n_edges) RETURN c.id", {}),
    (C + "RETURN c, collect(c) AS all, {a: c.class} AS m, -9223372036854775808 AS least", {}),
]


@pytest.mark.parametrize(("text", "params"), LET_THROUGH)
def test_what_is_the_same_on_both_is_let_through(text: str, params: dict[str, Any]) -> None:
    assert read(tokenize(text), params).columns is not None


@pytest.mark.parametrize(
    "text", [*HARMLESS, *(pytest.param(q.text, id=n) for n, q in named_queries().items() if q.text)]
)
def test_real_questions_are_read_to_their_end(text: str) -> None:
    params = {t.text[1:]: "a" for t in tokenize(text) if t.kind == "param"}
    types = {p.name: p for q in named_queries().values() if q.text == text for p in q.parameters}
    values = {"integer": 1, "number": 0.5, "strings": ["a"]}
    chosen = {"circuits": ["a"], "left_out": ["a"], "listed": True}  # by `ask`, for every named query
    given = {name: values.get(types[name].type, "a") if name in types else "a" for name in params}
    given |= {name: value for name, value in chosen.items() if name in params and name not in types}
    assert read(tokenize(text), given).columns is not None


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("RETURN count(*), 1 +  1, 'a b' AS `the x`", ("count(*)", "1 + 1", "the x")),
        (C + "RETURN c . class, c.id AS id ORDER BY c.id LIMIT 1;", ("c . class", "id")),
        (C + "WITH c.class AS k RETURN k UNION RETURN 'a' AS z", ("k",)),
        (C + "RETURN *", None),
        (C + "RETURN c.id SOMETHING", None),
    ],
)
def test_columns_have_the_names_of_the_text(text: str, columns: tuple[str, ...] | None) -> None:
    assert read(tokenize(text), {}).columns == columns


def test_the_kinds_of_properties_are_those_of_the_schema() -> None:
    """By name only: each has one kind, whatever node it is of."""
    names = {name for of in (NODES, RELATIONSHIPS) for properties in of.values() for name in properties}
    assert names <= PROPERTIES.keys()
    assert all(PROPERTIES[name] == TEXT for name in ALWAYS_THERE)
