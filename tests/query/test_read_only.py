"""Nothing that a user can send changes a store, reads a file or ends the process; what they really ask is answered."""

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
def asked(request: pytest.FixtureRequest, library: Library) -> Iterator[Store]:
    """Circuits, asked through the read-only handle and through the one that is open for writing."""
    if request.param == "reader":
        yield library.store
    else:
        with library.store.writer():
            yield library.store


def test_the_list_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 300
    assert len(set(HARMLESS)) >= 40


@pytest.mark.slow
def test_hostile_texts_are_refused_or_harmless(asked: Store) -> None:
    """At present each one is refused; nothing reaches the engine."""
    before = content(asked)
    passed = []
    for text in HOSTILE:
        try:
            asked.query(text, PARAMETERS if "$x" in text else None, timeout_s=2)
            passed.append(text)
        except QueryRefused as refused:
            assert "line " in str(refused)
    assert passed == []
    assert content(asked) == before
    assert not any(Path("/tmp").glob("stolen*"))


def test_behind_the_guard_the_engine_refuses_to_write(asked: Store) -> None:
    """The second wall: the same statements without the first."""
    before = content(asked)
    for text in WRITING:
        with suppress(CircuitStoreError):
            asked.graph.run(text, PARAMETERS if "$x" in text else None, timeout_s=2)
    assert content(asked) == before


@pytest.mark.parametrize("text", HARMLESS)
def test_real_questions_are_answered(asked: Store, library: Library, text: str) -> None:
    values = {"id": library.records[0].id, "class": "class-1"}
    table = run(asked, text, {k: v for k, v in values.items() if f"${k}" in text})
    assert len(table.frame.columns) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("text", ENDLESS)
def test_a_query_without_end_is_ended(asked: Store, text: str) -> None:
    began = time.monotonic()
    with pytest.raises(QueryFailed, match=r"longer than 0\.5 s|memory"):
        run(asked, text, timeout_s=0.5)
    assert time.monotonic() - began < 20
    assert len(run(asked, "MATCH (c:Circuit) RETURN c.id")) == CIRCUITS


def test_time_that_ends_after_the_last_row_is_told_alike(asked: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neo4j then refuses to close the transaction; the rows that came are given by an engine that does not."""

    def late(*args: Any) -> Table:
        time.sleep(0.5)
        return to_table(*args)

    for module in (neo4j, ladybug):
        monkeypatch.setattr(module, "to_table", late)
    with suppress(QueryFailed):
        assert len(run(asked, "MATCH (c:Circuit) RETURN c.id", timeout_s=0.1)) == CIRCUITS


def test_rows_are_capped_and_that_is_said(asked: Store) -> None:
    table = run(asked, "MATCH (n:Node) RETURN n.key", max_rows=3)
    assert len(table) == 3
    assert any("3" in note for note in table.notes)
    assert run(asked, "MATCH (c:Circuit) RETURN c.id", max_rows=CIRCUITS).notes == ()


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
def test_what_the_engine_cannot_read_fails_with_its_words(asked: Store, text: str, named: str) -> None:
    with pytest.raises((QueryFailed, QueryRefused), match=named):
        run(asked, text)
