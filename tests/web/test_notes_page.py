"""The API of notes: they are added only on request, and listed as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.query import note_records
from circuitstore.store import Store, open_store
from circuitstore.web import create_app
from circuitstore.web.access import Access
from starlette.testclient import TestClient

from ..toy_studies import HOSTILE, Answers, effect_items, fill

ANSWERS = Answers.to(effect_items(2))
API = "/api/1/notes"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    fill(tmp_path / "store", ANSWERS)
    with open_store(tmp_path / "store") as opened:
        yield opened


def client_of(store: Store, notes: bool) -> TestClient:
    app = create_app(store, Access.of("127.0.0.1", 8360, False), notes=notes)
    return TestClient(app, base_url="http://localhost:8360")


def test_nothing_is_added_without_the_option(store: Store) -> None:
    client = client_of(store, False)
    answer = client.post(API, json={"text": "a note"})
    assert answer.status_code == 403 and "--notes" in answer.text
    assert client.get(API).json() == {"notes": [], "total": 0, "may_add": False}
    assert len(store.notes()) == 0


def test_notes_are_added_listed_and_replaced(store: Store) -> None:
    client, id = client_of(store, True), ANSWERS.records[0].id
    note = {
        "text": HOSTILE + "\nمرحبا",
        "author": "ada",
        "about": [f"circuit:{id[:12]}"],
        "tags": ["word"],
        "state": "open",
    }
    added = client.post(API, json=note)
    assert added.status_code == 201 and added.json()["about"] == [f"circuit:{id}"]
    later = client.post(API, json={"state": "supported", "author": "ada", "replaces": added.json()["id"]}).json()
    (listed,) = client.get(API, params={"about": f"circuit:{id[:12]}", "tag": "word"}).json()["notes"]
    assert listed == later and listed["text"] == note["text"] and listed["hypothesis"]["state"] == "supported"
    (stored,) = note_records(store, [later["id"]])
    same = ("id", "created_ms", "text", "author", "replaces")
    assert [listed[name] for name in same] == [stored[name] for name in same]
    assert client.get(API, params={"replaced": True}).json()["total"] == 2
    assert client.get(API, params={"state": "refuted"}).json()["total"] == 0
    assert later["id"] in client.get(API, params={"as": "csv"}).text


@pytest.mark.parametrize(
    ("note", "status", "message"),
    [
        ({}, 400, "text of the note"),
        ({"text": "x", "about": ["circuit:ffff"]}, 400, "no circuit"),
        ({"text": "x", "state": "true"}, 422, "supported"),
        ({"text": "x" * 100_001}, 422, "100000"),
        ({"text": "x", "created_ms": 1}, 422, "created_ms"),
    ],
)
def test_wrong_notes_say_what_was_expected(store: Store, note: dict, status: int, message: str) -> None:
    answer = client_of(store, True).post(API, json=note)
    assert (answer.status_code, message in answer.text) == (status, True)
    assert len(store.notes()) == 0


def test_queries_continue_while_a_note_is_added_and_another_writer_is_named(store: Store) -> None:
    client = client_of(store, True)
    ask = {"text": "MATCH (c:Circuit) RETURN count(*) AS n"}
    assert client.get("/api/1/query", params=ask).json()["rows"] == [[4]]
    assert client.post(API, json={"text": "a note", "author": "ada"}).status_code == 201
    assert client.get("/api/1/query", params=ask).json()["rows"] == [[4]]
    with open_store(store.location.folder) as other, other.writer():
        answer = client.post(API, json={"text": "another", "author": "ada"})
    assert answer.status_code == 503 and "is being written" in answer.json()["error"]
    assert client.get(API).json()["total"] == 1
