"""The text that a query becomes for LadybugDB; `tests/query/test_parity.py` tests the answers."""

from __future__ import annotations

from typing import Any

import pytest
from circuitstore.store.graph.ladybug.text import adapted

from ....query.harmless import HARMLESS

M = "MATCH (c)-[:HAS]->(:Node)"


@pytest.mark.parametrize(
    ("text", "params", "asked"),
    [
        ("UNWIND [0.5] AS x RETURN sum(x) AS s", {}, "UNWIND [0.5] AS x RETURN coalesce(sum(x), 0) AS s"),
        (
            "MATCH (c:Circuit) RETURN sum(c.n_edges) AS s",
            {},
            "MATCH (c:Circuit) RETURN to_int64(coalesce(sum(c.n_edges), 0)) AS s",
        ),
        (
            "MATCH (c:Circuit) RETURN SUM ( DISTINCT (c.faithfulness) )",
            {},
            "MATCH (c:Circuit) RETURN coalesce(SUM ( DISTINCT (c.faithfulness) ), 0)",
        ),
        ("RETURN $a * $b AS x", {"a": 1, "b": 2.5}, "RETURN to_int64($a) * $b AS x"),
        ("RETURN $a AS x SKIP $n LIMIT $n", {"a": True, "n": 3}, "RETURN $a AS x SKIP $n LIMIT $n"),
        ("RETURN '$a sum(x)' AS `sum(x)` // $a", {"a": 1}, "RETURN '$a sum(x)' AS `sum(x)` // $a"),
        ("MATCH (n {sum: 1}) RETURN n.sum", {}, "MATCH (n {sum: 1}) RETURN n.sum"),
        (
            f"MATCH (c:Circuit) RETURN COUNT {{ {M} }} AS n",
            {},
            f"MATCH (c:Circuit) RETURN (COUNT {{ {M} }} + CASE WHEN c.id IS NULL THEN 0 ELSE 0 END) AS n",
        ),
        (
            "MATCH (n) WHERE (COUNT { MATCH (m:Node)-->(n) } > 0) RETURN n.key",
            {},
            "MATCH (n) WHERE ((COUNT { MATCH (m:Node)-->(n) } + CASE WHEN n.name IS NULL THEN 0 ELSE 0 END) > 0) "
            "RETURN n.key",
        ),
        ("RETURN COUNT { MATCH (c:Circuit) } AS n", {}, "RETURN COUNT { MATCH (c:Circuit) } AS n"),
        (
            "MATCH (n:Node) RETURN -n.full_in AS x ORDER BY x DESC, n.key",
            {},
            "MATCH (n:Node) RETURN -n.full_in AS x ORDER BY x + 0.0 DESC, n.key",
        ),
    ],
)
def test_only_what_the_engine_answers_otherwise_is_changed(text: str, params: dict[str, Any], asked: str) -> None:
    assert adapted(text, params) == asked


def test_most_questions_are_asked_as_they_are() -> None:
    changed = [text for text in HARMLESS if adapted(text, {"id": "a", "class": "b"}) != text]
    assert len(changed) < 6
