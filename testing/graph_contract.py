"""What every graph backend must pass: subclass `GraphContract`, give the fixture `place`, run pytest.

    class TestMine(GraphContract):
        @pytest.fixture
        def place(self, tmp_path):
            return MyPlace(tmp_path)

A `place` is a database of its own, empty at the start of each test, that can be opened any number of times.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Protocol

import numpy as np
import pytest

from ..circuits import CircuitRecord
from ..errors import InputError, QueryFailed, StoreBusy, StoreDamaged, StoreError
from ..store.graph.content import GraphContent
from ..store.graph.contract import GraphBackend, Lease
from .factories import make_records
from .killing import killed_at

STORE = "store-of-the-contract"


class GraphPlace(Protocol):
    """A database that a backend can be opened on."""

    url: str

    def open(self, *, store_id: str = STORE, read_only: bool = False) -> GraphBackend: ...


def created(records: Sequence[CircuitRecord]) -> dict[str, int]:
    """Times for records: 1, 2, 3 … ms."""
    return {r.id: i for i, r in enumerate(records, 1)}


def assert_holds(graph: GraphBackend, records: Sequence[CircuitRecord], times: dict[str, int] | None = None) -> None:
    """The graph holds these circuits, exactly, and no others."""
    times = times or created(records)
    assert graph.present() == {r.id: r.sha256 for r in records}
    for record in records:
        assert GraphContent.of(record, times[record.id]).differences(graph.content(record.id)) == []
    counts = graph.run("MATCH (n:Node) RETURN count(n) AS n").to_pandas()
    assert counts["n"].tolist() == [sum(r.circuit.n_nodes for r in records)]


def bare(record: CircuitRecord) -> CircuitRecord:
    """The record as of a method that only selects, on no report images."""
    return replace(
        record, score=None, std=None, frequency=None, full_in=None, full_out=None, evaluation=None, n_images=1
    )


class GraphContract:
    """The tests; each says in its name what a backend promises."""

    faults_of_put: ClassVar[tuple[str, ...]] = ()
    """Points of `circuitstore.store.faults` that the backend's `put` passes."""
    faults_of_remove: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def place(self) -> GraphPlace:
        raise NotImplementedError("a subclass of GraphContract gives the fixture `place`")

    @pytest.mark.parametrize("form", ["split", "head", "attention", "block"])
    def test_content_is_the_records_exactly(self, place: GraphPlace, form):
        records = make_records(3, form=form)
        with place.open() as graph:
            graph.put(records, created(records))
            assert_holds(graph, records)

    def test_what_is_missing_in_a_record_is_null(self, place: GraphPlace):
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
        record = replace(record, score=score)
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

    def test_parallel_edges_into_one_head_are_kept_apart(self, place: GraphPlace):
        record = max(make_records(10, n=200), key=lambda r: r.circuit.n_edges)
        edges = (record.circuit.graph.edge(record.circuit.graph.edge_index[name]) for name in record.circuit.edges)
        parallel = max(Counter((edge.sender, edge.receiver) for edge in edges).values())
        assert parallel > 1
        with place.open() as graph:
            graph.put([record], created([record]))
            assert_holds(graph, [record])
            most = graph.run(
                "MATCH (:Circuit {id: $id})-[:HAS]->(n:Node)-[f:FEEDS]->(m:Node) "
                "WITH n, m, count(f) AS edges, count(DISTINCT f.port) AS ports RETURN max(edges), max(ports)",
                {"id": record.id},
            )
        assert most.to_pandas().to_numpy().tolist() == [[parallel, parallel]]

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

    def test_other_content_under_a_known_id_is_refused_and_nothing_is_written(self, place: GraphPlace):
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

    def test_a_group_that_fails_leaves_the_graph_usable(self, place: GraphPlace):
        first, second = make_records(2)
        with place.open() as graph:
            with pytest.raises(KeyError):
                graph.put([first, second], {first.id: 1})
            graph.put([first, second], created([first, second]))
            assert_holds(graph, [first, second])

    def test_remove_takes_circuits_and_leaves_what_is_shared(self, place: GraphPlace):
        records = make_records(4)
        with place.open() as graph:
            graph.put(records, created(records))
            for _ in range(2):
                graph.remove([records[1].id, records[2].id, "unknown"])
                assert_holds(graph, [records[0], records[3]], created(records))
            assert len(graph.run("MATCH (k:Class) RETURN k.key")) == 2
            graph.put(records, created(records))
            assert_holds(graph, records)

    def test_content_of_an_unknown_circuit_is_an_error(self, place: GraphPlace):
        with place.open() as graph, pytest.raises(InputError, match="nothing-such"):
            graph.content("nothing-such")

    def test_sweep_finds_nothing_where_all_is_well(self, place: GraphPlace):
        records = make_records(2)
        with place.open() as graph:
            assert graph.sweep() == 0
            graph.put(records, created(records))
            assert graph.sweep() == 0
            assert_holds(graph, records)

    def test_everything_is_there_after_opening_again(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records, created(records))
        with place.open() as graph:
            assert graph.notices == ()
            assert_holds(graph, records)
            more = make_records(5)
            graph.put(more, created(more))
            assert_holds(graph, more)

    def test_clear_keeps_the_store_and_the_lease(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records, created(records))
            graph.claim("a writer", later())
            lease = graph.lease()
            graph.clear()
            assert_holds(graph, [])
            assert graph.lease() == lease
            graph.put(records[:1], created(records))
        with place.open() as graph:
            assert_holds(graph, records[:1])

    def test_a_put_killed_anywhere_is_whole_or_nothing(self, place: GraphPlace):
        if not self.faults_of_put:
            pytest.skip("the backend names no fault points of put")
        before, records = make_records(2), make_records(5)
        for point in self.faults_of_put:
            with place.open() as graph:
                graph.clear()
                graph.put(before, created(records))
            killed_at(point, "put", place.url, STORE, 5)
            with place.open() as graph:
                visible = before if len(graph.present()) == 2 else records
                rests = graph.sweep()
                assert_holds(graph, visible, created(records))
                assert rests == 0 or visible is before, point
                graph.put(records, created(records))
                assert_holds(graph, records)

    def test_a_put_after_a_killed_one_needs_no_sweep(self, place: GraphPlace):
        if not self.faults_of_put:
            pytest.skip("the backend names no fault points of put")
        records = make_records(3)
        with place.open():
            pass
        killed_at(self.faults_of_put[-2], "put", place.url, STORE, 3)
        with place.open() as graph:
            graph.put(records, created(records))
            assert_holds(graph, records)

    def test_a_remove_killed_anywhere_is_whole_or_nothing(self, place: GraphPlace):
        if not self.faults_of_remove:
            pytest.skip("the backend names no fault points of remove")
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

    def test_rows_are_plain_python_values(self, place: GraphPlace):
        records = make_records(3)
        with place.open() as graph:
            graph.put(records, created(records))
            frame = graph.run(
                "MATCH (c:Circuit) RETURN c.class AS class, sum(c.n_edges) AS edges, avg(c.metric_full) AS full, "
                "count(DISTINCT c.condition) AS conditions ORDER BY class"
            ).to_pandas()
            layers = graph.run("MATCH (n:Node) RETURN DISTINCT n.layer AS layer ORDER BY layer").to_pandas()
        assert frame["class"].tolist() == ["class-0", "class-1"]
        assert [str(kind) for kind in frame.dtypes] == ["object", "int64", "float64", "int64"]
        assert sum(frame["edges"].tolist()) == sum(r.circuit.n_edges for r in records)
        assert frame["conditions"].tolist() == [2, 1]
        assert str(layers["layer"].dtype) == "Int64"
        assert layers["layer"].isna().tolist().count(True) == 1

    def test_parameters_are_values_never_text(self, place: GraphPlace):
        record = make_records(1)[0]
        text = "UNWIND $ids AS wanted MATCH (c:Circuit {id: wanted}) RETURN c.id AS id, $n + 1 AS n"
        with place.open() as graph:
            graph.put([record], created([record]))
            answer = graph.run(text, {"ids": [record.id, "x'}) DETACH DELETE c //"], "n": 1})
            assert answer.to_pandas().to_numpy().tolist() == [[record.id, 2]]
            assert_holds(graph, [record])

    def test_rows_are_capped_and_the_cap_is_told(self, place: GraphPlace):
        with place.open() as graph:
            capped = graph.run("UNWIND [1, 2, 3, 4] AS i RETURN i", max_rows=3)
            whole = graph.run("UNWIND [1, 2, 3, 4] AS i RETURN i", max_rows=4)
        assert capped.to_pandas()["i"].tolist() == [1, 2, 3] and "first 3 rows" in capped.notes[0]
        assert len(whole) == 4 and whole.notes == ()

    def test_an_empty_answer_has_its_columns(self, place: GraphPlace):
        with place.open() as graph:
            answer = graph.run("MATCH (c:Circuit) RETURN c.id AS id, c.n_edges AS n")
        assert list(answer.to_pandas().columns) == ["id", "n"] and len(answer) == 0

    def test_a_query_that_never_ends_is_ended(self, place: GraphPlace):
        endless = (
            "UNWIND range(1, 30000) AS a UNWIND range(1, 30000) AS b WITH a, b WHERE (a + b) % 7 = 3 RETURN sum(a - b)"
        )
        with place.open() as graph:
            started = time.monotonic()
            with pytest.raises(QueryFailed, match=r"longer than 0.3 s"):
                graph.run(endless, timeout_s=0.3)
            assert time.monotonic() - started < 10
            assert graph.run("RETURN 1 AS one").to_pandas()["one"].tolist() == [1]

    @pytest.mark.parametrize("read_only", [False, True])
    def test_a_query_cannot_write(self, place: GraphPlace, read_only):
        records = make_records(1)
        with place.open() as graph:
            graph.put(records, created(records))
        with place.open(read_only=read_only) as graph:
            for text in (
                "CREATE (:Dataset {name: 'x'})",
                "MATCH (c:Circuit) SET c.n_edges = 0",
                "MATCH (n) DETACH DELETE n",
            ):
                with pytest.raises(QueryFailed):
                    graph.run(text)
            assert_holds(graph, records)
            assert len(graph.run("MATCH (d:Dataset) RETURN d.name")) == 1

    def test_a_query_that_does_not_parse_says_so(self, place: GraphPlace):
        with place.open() as graph, pytest.raises(QueryFailed, match="MATCH"):
            graph.run("MATCH (c:Circuit RETURN c")

    def test_a_reader_reads_and_refuses_to_write(self, place: GraphPlace):
        records = make_records(2)
        with place.open() as graph:
            graph.put(records, created(records))
        with place.open(read_only=True) as graph:
            assert_holds(graph, records)
            assert graph.lease() is None
            for write in (
                lambda: graph.put(records, created(records)),
                lambda: graph.remove([records[0].id]),
                lambda: graph.sweep(),
                lambda: graph.clear(),
                lambda: graph.claim("a reader", later()),
                lambda: graph.release("a reader"),
            ):
                with pytest.raises(StoreError, match="reading only"):
                    write()

    def test_a_reader_sees_what_was_committed_since_it_opened(self, place: GraphPlace):
        records = make_records(4)
        with place.open() as writer, place.open(read_only=True) as reader:
            assert reader.present() == {}
            for some in (records[:2], records):
                writer.put(some, created(records))
                assert_holds(reader, some)
            writer.remove([records[0].id])
            assert records[0].id not in reader.present()
            writer.clear()
            assert_holds(reader, [])

    def test_readers_never_meet_half_a_circuit(self, place: GraphPlace):
        records = make_records(24)
        wrong: list[object] = []
        reads = 0
        done = threading.Event()
        text = (
            "MATCH (c:Circuit) OPTIONAL MATCH (c)-[:HAS]->(n:Node)-[f:FEEDS]->(:Node) "
            "RETURN c.id AS id, c.n_edges AS wanted, count(f) AS edges"
        )

        def read() -> None:
            nonlocal reads
            with place.open(read_only=True) as graph:
                while not done.is_set():
                    try:
                        frame = graph.run(text).to_pandas()
                    except StoreBusy:
                        continue
                    wrong.extend(frame[frame["wanted"] != frame["edges"]].itertuples(index=False, name=None))
                    reads += 1

        with place.open() as writer:
            threads = [threading.Thread(target=read) for _ in range(2)]
            for thread in threads:
                thread.start()
            for start in range(0, len(records), 4):
                writer.put(records[start : start + 4], created(records))
                time.sleep(0.05)
            writer.remove([r.id for r in records[:4]])
            done.set()
            for thread in threads:
                thread.join()
        assert wrong == [] and reads > 0

    def test_threads_may_share_a_writer(self, place: GraphPlace):
        records = make_records(12)
        with place.open() as graph:
            threads = [threading.Thread(target=graph.put, args=(records[i::3], created(records))) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert_holds(graph, records)

    def test_the_lease_is_one_owners_until_it_lapses(self, place: GraphPlace):
        with place.open() as graph:
            assert graph.lease() is None
            until = later()
            graph.claim("first", until)
            graph.claim("first", until + 1000)
            assert graph.lease() == Lease("first", until + 1000)
            with pytest.raises(StoreBusy, match="first"):
                graph.claim("second", until)
            graph.release("second")
            assert graph.lease() == Lease("first", until + 1000)
            graph.claim("second", until, over="first")
            assert graph.lease() == Lease("second", until)
            graph.release("second")
            assert graph.lease() is None
            graph.claim("third", int(time.time() * 1000) - 1)
            graph.claim("fourth", until)
            assert graph.lease() == Lease("fourth", until)
        with place.open() as graph:
            assert graph.lease() == Lease("fourth", until)

    def test_a_database_of_another_store_is_refused_untouched(self, place: GraphPlace):
        records = make_records(1)
        with place.open() as graph:
            graph.put(records, created(records))
        for read_only in (False, True):
            with pytest.raises(StoreError, match=f"{STORE}.*another-store"):
                place.open(store_id="another-store", read_only=read_only)
        with place.open() as graph:
            assert_holds(graph, records)

    def test_after_close_it_says_so(self, place: GraphPlace):
        graph = place.open()
        graph.close()
        graph.close()
        with pytest.raises(StoreError, match="closed"):
            graph.present()


def later() -> int:
    """A minute from now, in epoch milliseconds."""
    return int(time.time() * 1000) + 60_000
