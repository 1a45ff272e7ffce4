"""Nothing that a user can send changes a store, reads a file or ends the process; what they really ask is answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.errors import QueryFailed, QueryRefused
from circuitstore.query import run
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from .conftest import fill
from .harmless import HARMLESS
from .hostile import HOSTILE

EVERYTHING = [
    "MATCH (s:Store) RETURN s.id, s.schema",
    "MATCH (c:Circuit) RETURN c.id, c.class, c.sha256, c.n_edges ORDER BY c.id",
    "MATCH (n:Node) RETURN n.key, n.name, n.full_in, n.full_out ORDER BY n.key",
    "MATCH (a:Node)-[f:FEEDS]->(b:Node) RETURN a.key, b.key, f.edge, f.score, f.rank ORDER BY f.edge, a.key",
    "MATCH (c:Circuit)-[:HAS]->(n:Node) RETURN c.id, n.key ORDER BY n.key",
    "MATCH (d:Dataset) RETURN d.name",
    "MATCH (k:Class) RETURN k.key, k.name ORDER BY k.key",
    "MATCH (n) RETURN count(*)",
    "MATCH ()-[r]->() RETURN count(*)",
]


@pytest.fixture(scope="module", params=["reader", "writer"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two circuits, asked through the read-only handle and through the one that is open for writing."""
    found = [make_discovery(item=make_item(class_index=i, n_layers=2, n_heads=2)) for i in range(2)]
    with create_store(tmp_path_factory.mktemp("small") / "data") as store:
        fill(store, [(d, [make_record(d, 12)]) for d in found])
        if request.param == "reader":
            yield store
        else:
            with store.writer():
                yield store


def content(store: Store) -> list[list[tuple]]:
    return [list(store.query(text).frame.itertuples(index=False, name=None)) for text in EVERYTHING]


def test_the_list_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 150
    assert len(set(HARMLESS)) >= 40


def test_hostile_texts_are_refused_or_harmless(small: Store, tmp_path: Path) -> None:
    """At present each one is refused; nothing reaches the engine."""
    before = content(small)
    passed = []
    for text in HOSTILE:
        try:
            small.query(text, {"x": "*/ CREATE (:Dataset {name: 'x'}) //"} if "$x" in text else None, timeout_s=2)
            passed.append(text)
        except QueryRefused as refused:
            assert "line " in str(refused)
    assert passed == []
    assert content(small) == before
    assert not any(Path("/tmp").glob("stolen*"))


@pytest.mark.parametrize("text", HARMLESS)
def test_real_questions_are_answered(small: Store, text: str) -> None:
    values = {"id": str(small.circuits()["id"].iloc[0]), "class": "class-1"}
    table = run(small, text, {k: v for k, v in values.items() if f"${k}" in text})
    assert len(table.frame.columns) >= 1


def test_a_query_without_end_is_ended(small: Store) -> None:
    endless = "MATCH (a:Node)-[:FEEDS*1..28]-(b:Node) RETURN count(*)"
    with pytest.raises(QueryFailed, match=r"longer than 0\.2 s"):
        run(small, endless, timeout_s=0.2)
    assert len(run(small, "MATCH (c:Circuit) RETURN c.id")) == 2


def test_rows_are_capped_and_that_is_said(small: Store) -> None:
    table = run(small, "MATCH (n:Node) RETURN n.key", max_rows=3)
    assert len(table) == 3
    assert any("3" in note for note in table.notes)
    assert run(small, "MATCH (c:Circuit) RETURN c.id", max_rows=2).notes == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("MATCH (c:Circuit RETURN c", "RETURN"),
        ("MATCH (c:Circuitt) RETURN c.id", "Circuitt"),
        ("MATCH (c:Circuit) RETURN c.clas", "clas"),
        ("MATCH (c:Circuit) RETURN d.class", "d"),
        ("RETURN 1 +", "1"),
        ("MATCH (c:Circuit) WITH c", "WITH"),
    ],
)
def test_what_the_engine_cannot_read_fails_with_its_words(small: Store, text: str, named: str) -> None:
    with pytest.raises(QueryFailed, match=named):
        run(small, text)
