"""No query can change a store, read a file or end the process, and harmless queries are answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from circuitstore.errors import CircuitStoreError, QueryFailed, QueryRefused
from circuitstore.query import run
from circuitstore.results import Table
from circuitstore.store import Store
from circuitstore.store.graph.ladybug import backend as ladybug
from circuitstore.store.graph.neo4j import backend as neo4j
from circuitstore.store.graph.tables import to_table

from .conftest import CIRCUITS, Library
from .content import content
from .harmless import HARMLESS
from .hostile import ENDLESS, HOSTILE, WRITING

PARAMETERS: dict[str, Any] = {"x": "*/ CREATE (:Dataset {name: 'x'}) //"}


@pytest.fixture(scope="module", params=["reader", "writer"])
def target(request: pytest.FixtureRequest, library: Library) -> Iterator[Store]:
    """A store that is open for reading, and one that is open for writing."""
    if request.param == "reader":
        yield library.store
    else:
        with library.store.writer():
            yield library.store


def test_the_list_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 300
    assert len(set(HARMLESS)) >= 40


@pytest.mark.slow
def test_hostile_texts_are_rejected_or_harmless(target: Store) -> None:
    """At present, the guard rejects all of them, and none reaches the engine."""
    before = content(target)
    passed = []
    for text in HOSTILE:
        try:
            target.query(text, PARAMETERS if "$x" in text else None, timeout_s=2)
            passed.append(text)
        except QueryRefused as refused:
            assert "line " in str(refused)
    assert passed == []
    assert content(target) == before
    assert not any(Path("/tmp").glob("stolen*"))


def test_the_engine_rejects_writes_without_the_guard(target: Store) -> None:
    """The second barrier, without the first."""
    before = content(target)
    for text in WRITING:
        with suppress(CircuitStoreError):
            target.graph.run(text, PARAMETERS if "$x" in text else None, timeout_s=2)
    assert content(target) == before


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_queries_are_answered(target: Store, library: Library, text: str) -> None:
    values = {"id": library.records[0].id, "class": "class-1"}
    table = run(target, text, {k: v for k, v in values.items() if f"${k}" in text})
    assert len(table.frame.columns) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("text", ENDLESS)
def test_an_endless_query_is_stopped(target: Store, text: str) -> None:
    began = time.monotonic()
    with pytest.raises(QueryFailed, match=r"longer than 0\.5 s|memory"):
        run(target, text, timeout_s=0.5)
    assert time.monotonic() - began < 20
    assert len(run(target, "MATCH (c:Circuit) RETURN c.id")) == CIRCUITS


def test_a_timeout_after_the_last_row_is_the_same_on_both_engines(
    target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neo4j then raises an error when the transaction is closed; the other engine returns the rows."""

    def late(*args: Any) -> Table:
        time.sleep(0.5)
        return to_table(*args)

    for module in (neo4j, ladybug):
        monkeypatch.setattr(module, "to_table", late)
    with suppress(QueryFailed):
        assert len(run(target, "MATCH (c:Circuit) RETURN c.id", timeout_s=0.1)) == CIRCUITS


def test_rows_are_limited_with_a_note(target: Store) -> None:
    table = run(target, "MATCH (n:Node) RETURN n.key", max_rows=3)
    assert len(table) == 3
    assert any("3" in note for note in table.notes)
    assert run(target, "MATCH (c:Circuit) RETURN c.id", max_rows=CIRCUITS).notes == ()


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
def test_invalid_queries_raise_an_error_with_the_message_of_the_engine(target: Store, text: str, named: str) -> None:
    with pytest.raises((QueryFailed, QueryRefused), match=named):
        run(target, text)
