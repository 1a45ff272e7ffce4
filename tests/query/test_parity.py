"""Both engines give the same answer or an error; `parity.py` searches for exceptions for longer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from circuitstore.errors import CircuitStoreError
from circuitstore.store import Store, open_store, rebuild_store
from circuitstore.store.cypher.clauses import read
from circuitstore.store.cypher.tokens import tokenize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .parity import answer, made, make_store, same

Engines = tuple[Store, Store]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, neo4j_server: Any) -> Iterator[Engines]:
    """Open the same circuits on LadybugDB and on Neo4j."""
    folder = tmp_path_factory.mktemp("parity") / "data"
    make_store(folder)
    neo4j_server.empty()
    rebuild_store(folder, graph=neo4j_server.url)
    with open_store(folder) as ours, open_store(folder, graph=neo4j_server.url) as theirs:
        yield ours, theirs


NOTHING = "MATCH (c:Circuit) WHERE c.class = 'nothing' "
M1 = "MATCH (c)-[:HAS]->(:Node {name: 'm1'})"

ANSWERS: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    (
        NOTHING + "RETURN sum(c.n_edges) AS a, sum(c.faithfulness) AS b, avg(c.n_edges) AS d, max(c.id) AS e",
        {},
        [(0, 0, None, None)],
    ),
    (NOTHING + "WITH sum(c.n_edges) AS s WHERE s = 0 RETURN 1.0 + s AS x", {}, [(1.0,)]),
    ("RETURN $a * $b AS x, $a + $b AS y, [$a, $b] AS z", {"a": 100, "b": 100}, [(10_000, 200, [100, 100])]),
    ("UNWIND [2, null, 1] AS x RETURN x ORDER BY x", {}, [(1,), (2,), (None,)]),
    ("UNWIND [2, null, 1] AS x RETURN x ORDER BY x DESC LIMIT 1", {}, [(None,)]),
    ("UNWIND [0.0, 0.5] AS x RETURN -x AS y ORDER BY y", {}, [(-0.5,), (0.0,)]),
    ("MATCH (c:Circuit) RETURN COUNT { " + M1 + " } AS n, count(*) AS k ORDER BY n", {}, [(0, 1), (1, 11)]),
    ("MATCH (c:Circuit) WHERE COUNT { " + M1 + " } = 0 RETURN count(*) AS n", {}, [(1,)]),
    ("MATCH (c:Circuit) WHERE NOT EXISTS { " + M1 + " } RETURN count(*) AS n", {}, [(1,)]),
    ("MATCH (c:Circuit) WHERE c.class IN $k RETURN count(*) AS n", {"k": ["class-1", "class-2"]}, [(4,)]),
    ("RETURN 1 AS x UNION ALL UNWIND [1, 2] AS y RETURN sum(y) AS x", {}, [(1,), (3,)]),
    ("RETURN 7 / 2 AS a, -7 % 3 AS b, 2 ^ 3 AS c, 1.0 * 7 / 2 AS d", {}, [(3, -1, 8.0, 3.5)]),
]


@pytest.mark.parametrize(("text", "params", "rows"), ANSWERS)
def test_the_answer_is_that_of_opencypher(engines: Engines, text: str, params: dict[str, Any], rows: list[Any]) -> None:
    wanted = rows if "ORDER BY" in text and "UNION" not in text else sorted(rows, key=repr)
    for store in engines:
        found = answer(store, text, params)
        assert not isinstance(found, Exception), found
        assert found[1] == wanted


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("MATCH (c:Circuit {class: $k}) RETURN count(*) AS n", {"k": 3}),
        ("MATCH (c:Circuit {class_index: $k}) RETURN count(*) AS n", {"k": "3"}),
        ("MATCH (c:Circuit) WHERE c.class > $k RETURN count(*) AS n", {"k": 1}),
        ("MATCH (c:Circuit) WHERE NOT (c.class IN $k) RETURN count(*) AS n", {"k": ["x", None]}),
        ("UNWIND [0.0] AS x RETURN 1.0 / x AS y", {}),
        ("RETURN log(10) AS x", {}),
    ],
)
def test_ambiguous_texts_raise_the_same_error(engines: Engines, text: str, params: dict[str, Any]) -> None:
    messages = []
    for store in engines:
        with pytest.raises(CircuitStoreError) as error:
            store.query(text, params)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_columns_and_nodes_are_the_same(engines: Engines) -> None:
    text = "MATCH p = (k:Class)-[r:OF_DATASET]->(:Dataset) RETURN k, r, p, count(*), k . name, 1 +  1 ORDER BY k.name"
    ours, theirs = (store.query(text).frame for store in engines)
    assert list(ours.columns) == list(theirs.columns) == ["k", "r", "p", "count(*)", "k . name", "1 + 1"]
    assert ours.to_numpy().tolist() == theirs.to_numpy().tolist()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.sampled_from([0, 12]))
def test_no_text_has_two_answers(engines: Engines, seed: int, odd: int) -> None:
    """Error messages may differ."""
    dice = random.Random(seed)
    for _ in range(3):
        text, params = made(dice.choice, odd)
        ours, theirs = (answer(store, text, params) for store in engines)
        failed = isinstance(ours, Exception) or isinstance(theirs, Exception)
        assert failed or same(ours, theirs), f"{text}\n{params}\n{ours}\n{theirs}"


def test_most_texts_are_answered(engines: Engines) -> None:
    """Otherwise the test above would be meaningless."""
    dice = random.Random(0)
    answers = [answer(engines[0], *made(dice.choice, 0)) for _ in range(60)]
    assert sum(not isinstance(a, Exception) for a in answers) > 25


def test_a_truncated_text_gives_an_answer_or_an_error() -> None:
    text = (
        "MATCH (c:Circuit {attack: 'x'})-[f:FEEDS]->(n:Node) WHERE any(x IN [1] WHERE x > 1) AND c.class = 'a' "
        "RETURN c.id AS id, count(*) AS n ORDER BY n LIMIT 3"
    )
    for end in range(len(text) + 1):
        for start in (len(text), *range(end + 1, len(text), 7)):
            with suppress(CircuitStoreError):
                read(tokenize(text[:end] + text[start:]), {})
