"""Tests of `SIMILAR` relationships for `GraphContract`: replaced as a whole, and removed with their circuits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from ..circuits import CircuitRecord
from ..errors import StoreError
from ..store.cypher.schema import SIMILAR
from ..store.graph.contract import GraphBackend
from .factories import make_records, similar_pairs
from .graph_place import STORE, GraphPlace, assert_holds, created
from .killing import killed_at

NONE = SIMILAR.empty_table()
_ALL = """
    MATCH (a:Circuit)-[s:SIMILAR]->(b:Circuit)
    RETURN a.id, b.id, s.measure, s.value, s.chance, s.floor"""


def similar(graph: GraphBackend) -> set[tuple[object, ...]]:
    """Return all `SIMILAR` relationships: ids, measure, value, chance, floor."""
    frame = graph.run(_ALL).to_pandas().astype(object)
    return set(frame.where(frame.notna(), None).itertuples(index=False, name=None))


def expected(records: Sequence[CircuitRecord], measure: str, value: float) -> set[tuple[object, ...]]:
    """Return the rows of `similar_pairs`."""
    return set(map(tuple, (row.values() for row in similar_pairs(records, measure, value).to_pylist())))


class Similar:
    """The tests of similarities."""

    faults_of_set_similar: ClassVar[tuple[str, ...]] = ()

    def test_similarities_of_a_measure_are_replaced(self, place: GraphPlace):
        records = make_records(4)
        with place.open() as graph:
            graph.put(records, created(records))
            graph.set_similar("dice", similar_pairs(records[:2], "dice", 0.5))
            for some, value in ((records, 0.25), (records[1:], 0.125)):
                for _ in range(2):
                    graph.set_similar("jaccard", similar_pairs(some, "jaccard", value))
                assert similar(graph) == expected(some, "jaccard", value) | expected(records[:2], "dice", 0.5)
            assert_holds(graph, records)
            graph.set_similar("jaccard", NONE)
            assert similar(graph) == expected(records[:2], "dice", 0.5)
        with place.open(read_only=True) as reader:
            assert similar(reader) == expected(records[:2], "dice", 0.5)
            with pytest.raises(StoreError, match="reading only"):
                reader.set_similar("dice", NONE)
            assert len(similar(reader)) == 2

    def test_pairs_of_unknown_circuits_are_ignored(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records[:2], created(records))
            graph.set_similar("jaccard", similar_pairs(records, "jaccard", 0.5))
            (only,) = similar(graph)
            assert only[:2] == (records[0].id, records[1].id)

    def test_similarities_are_removed_with_their_circuits(self, place: GraphPlace):
        records = make_records(4)
        with place.open() as graph:
            graph.put(records, created(records))
            graph.set_similar("jaccard", similar_pairs(records, "jaccard", 0.5))
            graph.remove([records[1].id])
            kept = {row for row in expected(records, "jaccard", 0.5) if records[1].id not in row}
            assert similar(graph) == kept and len(kept) == 2
            graph.put(records, created(records))
            assert similar(graph) == kept
            assert_holds(graph, records)
            graph.clear()
            assert similar(graph) == set()

    def test_a_killed_replacement_leaves_the_old_or_the_new_similarities(self, place: GraphPlace):
        if not self.faults_of_set_similar:
            pytest.skip("the subclass defines no fault points of set_similar")
        records = make_records(3)
        old, new = (expected(records, "jaccard", value) for value in (0.5, 1.0))
        for point in self.faults_of_set_similar:
            with place.open() as graph:
                graph.put(records, created(records))
                graph.set_similar("jaccard", similar_pairs(records, "jaccard", 0.5))
            killed_at(point, "set_similar", place.url, STORE, 3)
            with place.open() as graph:
                assert similar(graph) == (new if point.endswith("similar.after") else old), point
                assert graph.sweep() == 0
                graph.set_similar("jaccard", similar_pairs(records, "jaccard", 1.0))
                assert similar(graph) == new
                assert_holds(graph, records)
