"""Notes about parts of a store: subjects are checked and completed, versions follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.circuits import PAIR, Subject
from circuitstore.errors import InputError, QueryRefused, StoreBusy
from circuitstore.query import add_note, note_records, resolve_subject, run
from circuitstore.store import Store, open_store

from ..toy_studies import Answers, fill, toys  # noqa: F401


@pytest.fixture(scope="module")
def store(toys: Answers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:  # noqa: F811
    """A separate store, because notes are added to it."""
    folder = tmp_path_factory.mktemp("notes")
    fill(folder, Answers(toys.discoveries[:3], toys.records[:3]))
    with open_store(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def ids(store: Store) -> list[str]:
    return list(store.circuits()["id"])


def test_short_references_become_full_ones(store: Store, ids: list[str]) -> None:
    record = store.circuit(ids[0])
    model, other = record.item.model, max(ids[0], ids[1])
    pair = PAIR.join(sorted(ids[:2]))
    expected = {
        f"circuit:{ids[0][:16]}": ids[0],
        f"item:{record.discovery_id[:16]}": record.discovery_id,
        f"pair:{other[:16]}..{min(ids[0], ids[1])}": pair,
        "component:a1.h0": f"{model.id}/a1.h0",
        f"component:{model.name}/m2": f"{model.id}/m2",
        f"component:{model.id[:9]}/logits": f"{model.id}/logits",
        "edge:a0.h1->a1.h0<q>": f"{model.id}/a0.h1->a1.h0<q>",
        "class:class-1": "toys/1/class-1",
        "class:toys/class-1": "toys/1/class-1",
        "class:toys/1/class-1": "toys/1/class-1",
        "query:top-edges": "top-edges",
        "query:MATCH (c:Circuit {id: $id}) RETURN c.id": "MATCH (c:Circuit {id: $id}) RETURN c.id",
    }
    for text, ref in expected.items():
        found = resolve_subject(store, text)
        assert found == Subject(Subject.of(text).kind, ref)
        assert resolve_subject(store, found) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("circuit:zz", "no circuit has an id that begins with 'zz'"),
        ("item:zz", "no item has an id that begins with 'zz'; the ids are in the table of items"),
        ("pair:zz", r"pair: expected the ids of two circuits as ID..ID, got 'zz'"),
        ("class:class-2", "unknown class 'class-2'.*toys/class-1"),
        ("component:a9.h0", "unknown component of .* 'a9.h0'"),
        ("component:other/a0.h0", "component: unknown model 'other'"),
        ("edge:a1.h0->a0.h1<q>", "unknown edge of .* 'a1.h0->a0.h1<q>'"),
        ("query:top-edge", "unknown named query 'top-edge'.*top-edges"),
    ],
)
def test_what_the_store_does_not_have_is_named(store: Store, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_subject(store, text)


def test_a_pair_has_two_circuits_and_a_query_only_reads(store: Store, ids: list[str]) -> None:
    with pytest.raises(InputError, match=f"pair: expected two circuits, got {ids[0][:12]} twice"):
        resolve_subject(store, f"pair:{ids[0]}..{ids[0][:20]}")
    with pytest.raises(QueryRefused):
        resolve_subject(store, "query:MATCH (c:Circuit) DELETE c")


def test_versions_of_a_note(store: Store, ids: list[str]) -> None:
    given = {"about": [f"circuit:{ids[0][:16]}"], "tags": ["b", "a", "b"], "author": "ada"}
    first = add_note(store, "reads the word", **given)
    assert add_note(store, "reads the word", **given) == first and len(store.notes()) == 1
    assert first.about == (Subject("circuit", ids[0]),) and first.tags == ("a", "b") and first.state is None
    opened = add_note(store, state="open", replaces=first.id[:12], author="grace")
    refuted = add_note(store, state="refuted", evidence=[f"circuit:{ids[1]}"], replaces=opened.id)
    assert (refuted.text, refuted.about, refuted.tags) == (first.text, first.about, first.tags)
    moved = add_note(store, about=["class:class-1"], tags=[], replaces=refuted.id)
    assert moved.hypothesis == refuted.hypothesis and moved.tags == ()
    assert store.notes()["id"].tolist() == [moved.id]
    with pytest.raises(InputError, match=f"note {first.id[:12]} was replaced by {opened.id[:12]}; replace that one"):
        add_note(store, "too late", replaces=first.id)
    assert next(iter(run(store, "notes")))["id"] == moved.id and len(run(store, "notes", {"state": "open"})) == 0
    with pytest.raises(InputError, match="query notes: --run selects circuits, which its answer is not about"):
        run(store, "notes", run="toys")
    (record,) = note_records(store, [refuted.id])
    assert record["hypothesis"] == {"state": "refuted", "evidence": [["circuit", ids[1]]]}
    assert record["replaces"] == opened.id and record["created_ms"] > 0


def test_what_cannot_be_added_is_named_and_nothing_is_stored(store: Store) -> None:
    before = store.notes(replaced=True)
    with pytest.raises(InputError, match="expected the text of the note, got none"):
        add_note(store, about=["class:class-1"])
    with pytest.raises(InputError, match="give its state, too: open, supported or refuted"):
        add_note(store, "text", evidence=["class:class-1"])
    with pytest.raises(InputError, match="unknown class 'class-2'"):
        add_note(store, "text", about=["class:class-1", "class:class-2"])
    with pytest.raises(InputError, match="text: expected a text that is not empty"):
        add_note(store, " ")
    with pytest.raises(InputError, match="no note has an id that begins with 'zz'"):
        add_note(store, "text", replaces="zz")
    assert store.notes(replaced=True).equals(before)


def test_a_note_is_not_added_while_another_process_writes(store: Store) -> None:
    folder: Path = store.location.folder
    with open_store(folder) as other, other.writer(), pytest.raises(StoreBusy, match="--wait"):
        add_note(store, "text")
