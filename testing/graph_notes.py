"""Tests of notes for `GraphContract`: replaced as a whole, and kept when circuits that they are about are removed."""

from __future__ import annotations

from typing import ClassVar

import pytest

from ..errors import StoreError
from ..store.graph.audit import reading
from ..store.graph.contract import GraphBackend
from ..store.graph.notes import GraphNotes
from .factories import make_records, notes_about
from .graph_place import STORE, GraphPlace, assert_holds, created
from .killing import killed_at

NONE = GraphNotes.of([], {})


def assert_noted(graph: GraphBackend, notes: GraphNotes) -> None:
    """Assert that the graph has exactly these notes, connected to those of their subjects that it has."""
    assert list(notes.differences(reading(graph))) == []


def about(graph: GraphBackend, label: str) -> int:
    """Return the number of `ABOUT` relationships to nodes of a label."""
    return graph.run(f"MATCH (:Note)-[a:ABOUT]->(:{label}) RETURN count(a) AS n").to_pandas()["n"].item()


class Notes:
    """The tests of notes."""

    faults_of_set_notes: ClassVar[tuple[str, ...]] = ()

    def test_notes_are_replaced(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records, created(records))
            for some in (records, records[1:], records):
                for _ in range(2):
                    graph.set_notes(notes_about(some))
                assert_noted(graph, notes_about(some))
            assert (about(graph, "Circuit"), about(graph, "Class"), about(graph, "Component")) == (7, 1, 2)
            assert_holds(graph, records)
            latest = graph.run("MATCH (n:Note) WHERE NOT n.latest RETURN n.text AS text").to_pandas()["text"]
            assert latest.tolist() == ["earlier"]
            graph.set_notes(NONE)
            assert_noted(graph, NONE)
        with place.open(read_only=True) as reader:
            assert_noted(reader, NONE)
            with pytest.raises(StoreError, match="reading only"):
                reader.set_notes(notes_about(records))

    def test_notes_outlive_their_subjects_and_find_them_again(self, place: GraphPlace):
        records, notes = make_records(3), notes_about(make_records(3))
        with place.open() as graph:
            graph.set_notes(notes)
            assert_noted(graph, notes)
            assert about(graph, "Circuit") == 0
            graph.put(records, created(records))
            assert len(list(notes.differences(reading(graph)))) > 0
            graph.set_notes(notes)
            assert_noted(graph, notes)
            graph.remove([records[0].id])
            assert_noted(graph, notes)
            assert about(graph, "Circuit") == 4
            assert graph.sweep() == 0
            graph.clear()
            assert_noted(graph, NONE)

    def test_differences_of_notes_are_described(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records, created(records))
            graph.set_notes(notes_about(records[:2]))
            what = [what for _, what in notes_about(records[1:]).differences(reading(graph))]
            assert "the Note is missing" in what and "the Note is not in the catalog" in what
            assert any(text.startswith("ABOUT Circuit") for text in what)

    def test_a_killed_replacement_leaves_the_old_or_the_new_notes(self, place: GraphPlace):
        if not self.faults_of_set_notes:
            pytest.skip("the subclass defines no fault points of set_notes")
        records = make_records(3)
        for point in self.faults_of_set_notes:
            with place.open() as graph:
                graph.put(records, created(records))
                graph.set_notes(notes_about(records[:2]))
            killed_at(point, "set_notes", place.url, STORE, 3)
            with place.open() as graph:
                assert_noted(graph, notes_about(records if point.endswith("notes.after") else records[:2]))
                graph.set_notes(notes_about(records))
                assert_noted(graph, notes_about(records))
                assert_holds(graph, records)
