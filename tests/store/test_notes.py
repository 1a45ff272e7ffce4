"""Notes in a store: what comes back, what is listed, and what verify, gc and rebuild do with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from circuitstore.circuits import Hypothesis, Note, Subject
from circuitstore.errors import InputError, StoreBusy
from circuitstore.store import NOTES, Store, create_store, open_store, rebuild_store
from circuitstore.store.encoding import header_of
from circuitstore.store.graph.notes import GraphNotes
from circuitstore.testing.factories import make_note
from hypothesis import given

from ..circuits.test_note import notes
from .conftest import World

CIRCUIT, PAIR = Subject("circuit", "a" * 64), Subject("pair", f"{'a' * 64}..{'b' * 64}")


def differences(store: Store) -> list[tuple[str, str]]:
    return [(row["kind"], row["id"]) for row in store.verify()]


@given(notes)
def test_any_note_survives_encoding(note: Note) -> None:
    table = NOTES.encode(note, 1)
    there = NOTES.decode(header_of(table.schema), table)
    assert there == note and there.id == note.id


def test_notes_come_back_and_are_stored_once(folder: Path) -> None:
    note = make_note(about=[CIRCUIT])
    with create_store(folder) as store, store.writer() as writer:
        writer.add_notes(note, make_note("another"))
        writer.add_notes(note)
        assert store.note(note.id[:12]) == note and len(store.notes()) == 2
        assert len(list(store.archive.ids("note"))) == 2 and differences(store) == []


def test_notes_are_listed_by_subject_state_and_tag(folder: Path) -> None:
    on_circuit, on_pair = make_note("one", about=[CIRCUIT]), make_note("two", about=[PAIR])
    plain = replace(make_note("three"), tags=("words and more",), hypothesis=None)
    with create_store(folder) as store, store.writer() as writer:
        writer.add_notes(on_circuit, on_pair, plain)
        assert store.notes(about=CIRCUIT)["text"].tolist() == ["one", "two"]
        assert store.notes(about=PAIR)["text"].tolist() == ["two"]
        assert store.notes(tag="words")["text"].tolist() == ["one", "two"]
        assert store.notes(state="refuted").empty
        assert store.notes(about=CIRCUIT, state="open", tag="typography")["about"].tolist() == [CIRCUIT.text, PAIR.text]
        with pytest.raises(InputError, match="unknown state of a hypothesis 'opened'"):
            store.notes(state="opened")
        with pytest.raises(InputError, match=r"no note has an id that begins with 'x'; .* table of notes"):
            store.note("x")


def test_a_later_version_replaces_a_note_in_lists(folder: Path) -> None:
    first = make_note()
    second = replace(first, hypothesis=Hypothesis("supported", (CIRCUIT,)), replaces=first.id)
    third = replace(first, hypothesis=Hypothesis("open"), replaces=second.id)
    with create_store(folder) as store, store.writer() as writer:
        writer.add_notes(first, second, third)  # the state returns to open: another note, not the first one
        assert store.notes()["id"].tolist() == [third.id]
        assert set(store.notes(replaced=True)["id"]) == {first.id, second.id, third.id}
        assert store.notes(state="supported").empty
        assert store.notes(state="supported", replaced=True)["evidence"].tolist() == [CIRCUIT.text]


def test_notes_survive_gc_delete_and_rebuild(filled: Path) -> None:
    with open_store(filled) as store:
        note = make_note(about=[Subject("circuit", store.circuits()["id"][0])])
        with store.writer() as writer:
            writer.add_notes(note)
            writer.delete_run("run")
            writer.gc()
        assert store.circuits().empty and store.note(note.id) == note
        listed = store.notes()
    (filled / "catalog.sqlite").unlink()
    rebuild_store(filled)
    with open_store(filled) as store:
        assert store.notes().equals(listed) and differences(store) == []


def test_damage_and_loss_of_notes_are_found(folder: Path) -> None:
    some = [make_note(str(i)) for i in range(3)]
    with create_store(folder) as store, store.writer() as writer:
        writer.add_notes(*some)
        store.archive.path("note", some[0].id).unlink()
        cut = store.archive.path("note", some[1].id)
        cut.write_bytes(cut.read_bytes()[:-9])
        assert set(differences(store)) == {("missing file", some[0].id), ("damaged file", some[1].id)}
        writer.add_notes(*some[1:])  # the damaged one is set aside and written again
        assert differences(store) == [("missing file", some[0].id)]
        writer.add_notes(some[0])
        assert differences(store) == []


def test_a_note_waits_for_another_writer(filled: Path) -> None:
    with open_store(filled) as one, open_store(filled) as other, one.writer():  # noqa: SIM117
        with pytest.raises(StoreBusy, match="--wait"), other.writer():
            pass


ABOUT = "MATCH (n:Note)-[:ABOUT]->(c:Circuit) RETURN n.text AS text, c.id AS id ORDER BY text, id"


def test_the_graph_leads_from_notes_to_circuits_that_come_and_go(filled: Path, world: World) -> None:
    with open_store(filled) as store:
        record = world.records[0]
        on_circuit = make_note("circuit", about=[Subject("circuit", record.id)])
        on_item = make_note("item", about=[Subject("item", record.discovery_id)])
        ids = sorted(r.id for r in world.records if r.discovery_id == record.discovery_id)
        both = [{"text": "circuit", "id": record.id}, *({"text": "item", "id": id} for id in ids)]
        with store.writer() as writer:
            writer.add_notes(on_circuit, on_item)
            assert list(store.query(ABOUT)) == both and differences(store) == []
            writer.delete_run("run")
            writer.gc()
            assert list(store.query(ABOUT)) == [] and differences(store) == []
            world.fill(writer)
        assert list(store.query(ABOUT)) == both and differences(store) == []
        with store.writer() as writer:
            writer.rebuild()
        assert list(store.query(ABOUT)) == both and differences(store) == []


def test_verify_finds_notes_that_the_graph_lacks_and_the_next_writer_adds_them(filled: Path) -> None:
    note = make_note()
    with open_store(filled) as store:
        with store.writer() as writer:
            writer.add_notes(note)
            writer.graph.set_notes(GraphNotes.of([], {}))
        assert differences(store) == [("altered Note", note.id)]
        with store.writer():
            pass
        assert differences(store) == []
