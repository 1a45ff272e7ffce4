"""Tests of writing for `GraphContract`: `put`, `remove`, `sweep` and `clear`, also killed at any point."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from ..errors import StoreDamaged
from .factories import make_neuron_records, make_records
from .graph_place import SHARED, STORE, GraphPlace, assert_holds, bare, count, created, later
from .killing import DONE, killed_at


class Writing:
    """The tests of writing."""

    faults_of_put: ClassVar[tuple[str, ...]] = ()
    """Points of `circuitstore.store.faults` that the backend's `put` passes."""
    faults_of_remove: ClassVar[tuple[str, ...]] = ()
    faults_of_clear: ClassVar[tuple[str, ...]] = ()

    @pytest.mark.parametrize("form", ["split", "head", "attention", "block"])
    def test_content_is_the_records_exactly(self, place: GraphPlace, form):
        records = make_records(3, form=form)
        with place.open() as graph:
            graph.put(records, created(records))
            assert_holds(graph, records)

    def test_missing_values_of_a_record_are_null(self, place: GraphPlace):
        first, second = make_records(2)
        records = [bare(first), second]
        with place.open() as graph:
            graph.put(records, created(records))
            assert_holds(graph, records)
            frame = graph.run("MATCH (c:Circuit) WHERE c.faithfulness IS NULL RETURN c.id AS id").to_pandas()
        assert frame["id"].tolist() == [first.id]

    def test_values_are_float32_with_one_zero(self, place: GraphPlace):
        record = make_records(1)[0]
        wide = [-0.0, 0.1, 1e-40, 3e38]
        score = np.zeros(record.circuit.graph.n_edges)
        score[record.circuit.order[:4]] = wide
        record = replace(record, circuit=replace(record.circuit, score=score))
        with place.open() as graph:
            graph.put([record], created([record]))
            assert_holds(graph, [record])
            edges = graph.content(record.id).edges.set_index("edge")["score"]
        names = [record.circuit.graph.edge_names[i] for i in record.circuit.order[:4]]
        assert [edges[n] for n in names] == [
            0.0,
            float(np.float32(0.1)),
            float(np.float32(1e-40)),
            float(np.float32(3e38)),
        ]
        assert not np.signbit(edges[names[0]])

    def test_models_forms_and_sizes_share_a_group(self, place: GraphPlace):
        records = [*make_records(2, form="attention"), *make_records(2, n_layers=2, n_heads=3), *make_records(1, n=3)]
        with place.open() as graph:
            graph.put(records, created(records))
            assert_holds(graph, records)
            models = graph.run("MATCH (k:Component)-[:PART_OF]->(m:Model) RETURN m.name AS m, count(k) AS k ORDER BY m")
        assert models.to_pandas().to_numpy().tolist() == [["toy-2x3", 10], ["toy-4x4", 22 + 4]]

    def test_circuits_over_neurons_and_over_computation_graphs(self, place: GraphPlace):
        path, several = make_neuron_records("5 | 17 | 3 | 17"), make_neuron_records("5 9 | 2 17 | 3 17 | 1 8", 2)
        records = [*path, *make_records(2), *several]
        with place.open() as graph:
            graph.put(records, created(records))
            assert_holds(graph, records)
            text = "MATCH (c:Circuit)-[:HAS]->(n:Node) WHERE n.neuron = 17 RETURN c.id, n.name, n.kind, n.layer, n.head"
            found = graph.run(text).to_pandas().astype(object)
            parts = graph.run("MATCH (k:Component) WHERE k.neuron = 17 RETURN k.name AS name ORDER BY name")
        rows = [
            (r.id, c.name, "neuron", c.layer)
            for r in records
            for c in r.circuit.universe.components
            if c.neuron == 17 and c.name in r.circuit.nodes
        ]
        assert sorted(found.iloc[:, :4].itertuples(index=False, name=None)) == sorted(rows)
        assert found.iloc[:, 4].isna().all() and {name for _, name, *_ in rows} >= {"m1.n17", "m3.n17"}
        assert parts.to_pandas()["name"].tolist() == ["m1.n17", "m2.n17", "m3.n17"]

    def test_parallel_edges_into_one_head_are_separate(self, place: GraphPlace):
        record = max(make_records(10, n=200), key=lambda r: r.circuit.n_edges)
        edges = (record.circuit.graph.edge(record.circuit.graph.edge_index[name]) for name in record.circuit.edges)
        parallel = max(Counter((edge.sender, edge.receiver) for edge in edges).values())
        assert parallel > 1
        with place.open() as graph:
            graph.put([record], created([record]))
            assert_holds(graph, [record])
            counts = graph.run(
                "MATCH (:Circuit {id: $id})-[:HAS]->(n:Node)-[f:FEEDS]->(m:Node) "
                "WITH n, m, count(f) AS edges, count(DISTINCT f.port) AS ports RETURN max(edges), max(ports)",
                {"id": record.id},
            )
        assert counts.to_pandas().to_numpy().tolist() == [[parallel, parallel]]

    def test_structural_links_join_input_to_logits(self, place: GraphPlace):
        record = make_records(1, form="attention")[0]
        walk = (
            "MATCH (:Circuit {id: $id})-[:HAS]->(n:Node {name: 'input'})-[:FEEDS|CONTAINS*1..9]->(o:Node) "
            "WHERE o.name = 'logits' RETURN count(*) AS paths"
        )
        with place.open() as graph:
            graph.put([record], created([record]))
            links = graph.run(
                "MATCH (:Circuit {id: $id})-[:HAS]->(n:Node)-[:CONTAINS]->(m:Node) RETURN n.name AS n, m.name AS m",
                {"id": record.id},
            ).to_pandas()
            paths = graph.run(walk, {"id": record.id}).to_pandas()["paths"].tolist()
        assert set(links.itertuples(index=False, name=None)) == set(record.circuit.links)
        assert record.circuit.links and paths[0] > 0

    def test_put_again_changes_nothing(self, place: GraphPlace):
        records = make_records(4)
        with place.open() as graph:
            graph.put(records[:3], created(records))
            graph.put(records, {r.id: 99 for r in records[:3]} | {records[3].id: 4})
            graph.put([], {})
            assert_holds(graph, records)

    def test_other_content_under_a_known_id_raises_and_nothing_is_written(self, place: GraphPlace):
        first, second = make_records(2)
        other = replace(first, n_images=first.n_images + 1)
        assert other.id == first.id
        with place.open() as graph:
            graph.put([first], created([first]))
            with pytest.raises(StoreDamaged, match=first.id[:12]):
                graph.put([second, other], created([second, other]))
            assert_holds(graph, [first])
            graph.put([second], {second.id: 2})
            assert_holds(graph, [first, second])

    def test_an_invalid_group_leaves_the_graph_unchanged_and_usable(self, place: GraphPlace):
        first, second = make_records(2)
        with place.open() as graph:
            with pytest.raises(KeyError):
                graph.put([first, second], {first.id: 1})
            assert graph.present() == {}
            graph.put([first, second], created([first, second]))
            assert_holds(graph, [first, second])

    def test_remove_deletes_circuits_and_keeps_shared_nodes(self, place: GraphPlace):
        records = make_records(4)
        with place.open() as graph:
            graph.put(records, created(records))
            for _ in range(2):
                graph.remove([records[1].id, records[2].id, "unknown"])
                assert_holds(graph, [records[0], records[3]], created(records))
            assert len(graph.run("MATCH (k:Class) RETURN k.key")) == 2
            graph.put(records, created(records))
            assert_holds(graph, records)

    def test_sweep_finds_nothing_in_a_sound_graph(self, place: GraphPlace):
        records = make_records(2)
        with place.open() as graph:
            assert graph.sweep() == 0
            graph.put(records, created(records))
            assert [graph.sweep(), graph.sweep()] == [0, 0]
            assert_holds(graph, records)

    def test_clear_keeps_the_store_and_the_lease(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records, created(records))
            graph.claim("a writer", later())
            lease = graph.lease()
            for _ in range(2):
                graph.clear()
                assert_holds(graph, [])
                assert [count(graph, label) for label in SHARED] == [0] * len(SHARED)
                assert graph.lease() == lease
            graph.put(records[:1], created(records))
        with place.open() as graph:
            assert_holds(graph, records[:1])

    def test_a_put_killed_anywhere_is_whole_or_nothing(self, place: GraphPlace):
        if not self.faults_of_put:
            pytest.skip("the subclass defines no fault points of put")
        before, records = make_records(2), make_records(5)
        for point in self.faults_of_put:
            with place.open() as graph:
                graph.clear()
                graph.put(before, created(records))
            killed_at(point, "put", place.url, STORE, 5)
            with place.open() as graph:
                visible = before if len(graph.present()) == 2 else records
                nodes, swept = count(graph, "Node"), graph.sweep()
                assert_holds(graph, visible, created(records))
                assert count(graph, "Node") == nodes - swept, point
                assert swept == 0 or visible is before, point
                graph.put(records, created(records))
                assert_holds(graph, records)

    def test_circuits_survive_a_kill_after_put(self, place: GraphPlace):
        records = make_records(3)
        killed_at(DONE, "put", place.url, STORE, 3)
        with place.open() as graph:
            assert_holds(graph, records)
            assert graph.sweep() == 0

    def test_a_put_after_a_killed_one_needs_no_sweep(self, place: GraphPlace):
        if not self.faults_of_put:
            pytest.skip("the subclass defines no fault points of put")
        records = make_records(3)
        with place.open():
            pass
        killed_at(self.faults_of_put[-2], "put", place.url, STORE, 3)
        with place.open() as graph:
            graph.put(records, created(records))
            assert_holds(graph, records)

    def test_a_remove_killed_anywhere_is_whole_or_nothing(self, place: GraphPlace):
        if not self.faults_of_remove:
            pytest.skip("the subclass defines no fault points of remove")
        records = make_records(3)
        for point in self.faults_of_remove:
            with place.open() as graph:
                graph.put(records, created(records))
            killed_at(point, "remove", place.url, STORE, 2)
            with place.open() as graph:
                kept = [r for r in records if r.id in graph.present()]
                graph.sweep()
                assert_holds(graph, kept, created(records))
                graph.remove([r.id for r in records[:2]])
                assert_holds(graph, records[2:], created(records))

    def test_threads_may_share_a_writer(self, place: GraphPlace):
        records = make_records(12)
        with place.open() as graph:
            threads = [threading.Thread(target=graph.put, args=(records[i::3], created(records))) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert_holds(graph, records)

    def test_a_clear_killed_anywhere_leaves_whole_circuits(self, place: GraphPlace):
        if not self.faults_of_clear:
            pytest.skip("the subclass defines no fault points of clear")
        records = make_records(3)
        for point in self.faults_of_clear:
            with place.open() as graph:
                graph.put(records, created(records))
            killed_at(point, "clear", place.url, STORE, 0)
            with place.open() as graph:
                graph.sweep()
                assert_holds(graph, [r for r in records if r.id in graph.present()], created(records))
                graph.clear()
                assert_holds(graph, [])
