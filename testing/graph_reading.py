"""Tests of reading for `GraphContract`: queries, and readers concurrent with a writer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ..errors import InputError, QueryFailed, StoreBusy, StoreError
from .factories import make_records
from .graph_place import GraphPlace, assert_holds, created, later

ENDLESS = "UNWIND range(1, 300000) AS a UNWIND range(1, 300000) AS b WITH a, b WHERE (a + b) % 7 = 3 RETURN sum(a - b)"


class Reading:
    """The tests of reading."""

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

    def test_rows_are_capped_with_a_note(self, place: GraphPlace):
        with place.open() as graph:
            capped = graph.run("UNWIND [1, 2, 3, 4] AS i RETURN i", max_rows=3)
            whole = graph.run("UNWIND [1, 2, 3, 4] AS i RETURN i", max_rows=4)
        assert capped.to_pandas()["i"].tolist() == [1, 2, 3] and "first 3 rows" in capped.notes[0]
        assert len(whole) == 4 and whole.notes == ()

    def test_an_empty_answer_has_its_columns(self, place: GraphPlace):
        with place.open() as graph:
            answer = graph.run("MATCH (c:Circuit) RETURN c.id AS id, c.n_edges AS n")
        assert list(answer.to_pandas().columns) == ["id", "n"] and len(answer) == 0

    def test_a_query_that_never_ends_is_stopped(self, place: GraphPlace):
        with place.open() as graph:
            started = time.monotonic()
            with pytest.raises(QueryFailed, match=r"longer than 0.3 s"):
                graph.run(ENDLESS, timeout_s=0.3)
            assert time.monotonic() - started < 10
            assert graph.run("RETURN 1 AS one").to_pandas()["one"].tolist() == [1]

    @pytest.mark.parametrize("read_only", [False, True])
    def test_a_long_query_does_not_delay_others(self, place: GraphPlace, read_only):
        records = make_records(1)
        with place.open() as graph:
            graph.put(records, created(records))
        with place.open(read_only=read_only) as graph, ThreadPoolExecutor(1) as pool:
            for timeout_s in (2.0, 8.0, 32.0):  # the machine may be busy
                long = pool.submit(graph.run, ENDLESS, timeout_s=timeout_s)
                assert len(graph.run("MATCH (c:Circuit) RETURN c.id")) == 1
                assert_holds(graph, records)
                is_running = not long.done()
                with pytest.raises(QueryFailed, match="longer than"):
                    long.result()
                if is_running:
                    break
            assert is_running

    @pytest.mark.parametrize("answer", ["a + b AS x", "collect(a + b) AS x"])
    def test_an_answer_is_limited_in_bytes(self, place: GraphPlace, answer):
        many = "UNWIND $many AS a UNWIND $many AS b RETURN "
        texts = {"many": ["some text of forty letters or a few more"] * 200}
        with place.open() as graph:
            with pytest.raises(QueryFailed, match=r"larger than 1 MiB.*LIMIT.*max_mib"):
                graph.run(many + answer, texts, max_rows=10**6, max_mib=1)
            assert graph.run("RETURN 1 AS one").to_pandas()["one"].tolist() == [1]
            assert len(graph.run(many + answer, texts, max_rows=10**6)) in (1, 40_000)

    def test_sums_of_no_rows_and_large_products_are_those_of_opencypher(self, place: GraphPlace):
        text = "UNWIND $some AS x WITH x WHERE x > $least RETURN sum(x) AS total, sum(0.5 * x) AS half, avg(x) AS mean"
        with place.open() as graph:
            nothing = graph.run(text, {"some": [1, 2], "least": 5}).to_pandas()
            much = graph.run("RETURN $a * $b AS x", {"a": 100, "b": 100}).to_pandas()
        assert nothing[["total", "half"]].to_numpy().tolist() == [[0, 0]] and nothing["mean"].isna().tolist() == [True]
        assert much["x"].tolist() == [10_000]

    def test_nodes_relationships_and_paths_are_plain_values(self, place: GraphPlace):
        records = make_records(1)
        with place.open() as graph:
            graph.put(records, created(records))
            text = "MATCH p = (d:Dataset)<-[r:OF_DATASET]-(k:Class) RETURN d, r, p, collect(k) AS k"
            (row,) = graph.run(text).to_pandas().to_numpy().tolist()
        dataset, of = {"label": "Dataset", "name": "toys"}, {"type": "OF_DATASET"}
        (target,) = row[3]
        assert (target["label"], target["name"], target["class_index"]) == ("Class", "class-0", 0)
        assert row[:3] == [dataset, of, [dataset, of, target]]
        assert not {"_ID", "_LABEL", "singleton"} & set(target) and list(target)[1:] == sorted(
            target.keys() - {"label"}
        )

    def test_a_division_by_zero_raises(self, place: GraphPlace):
        with place.open() as graph, pytest.raises(QueryFailed, match="divided by 0"):
            graph.run("UNWIND [1.0, 0.0] AS x RETURN 1.0 / x AS y")

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

    def test_a_query_that_does_not_parse_raises(self, place: GraphPlace):
        with place.open() as graph, pytest.raises(QueryFailed, match="MATCH"):
            graph.run("MATCH (c:Circuit RETURN c")

    def test_content_of_an_unknown_circuit_raises(self, place: GraphPlace):
        with place.open() as graph, pytest.raises(InputError, match="nothing-such"):
            graph.content("nothing-such")

    def test_a_reader_reads_and_cannot_write(self, place: GraphPlace):
        records = make_records(2)
        with place.open() as graph:
            graph.put(records, created(records))
        with place.open(read_only=True) as graph:
            assert_holds(graph, records)
            assert graph.read_only and graph.url == place.url and graph.lease() is None
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

    def test_readers_never_find_part_of_a_circuit(self, place: GraphPlace):
        records = make_records(24)
        wrong: list[object] = []
        reads = 0
        done, opened = threading.Event(), threading.Barrier(3)
        text = (
            "MATCH (c:Circuit) OPTIONAL MATCH (c)-[:HAS]->(n:Node)-[f:FEEDS]->(:Node) "
            "RETURN c.id AS id, c.n_edges AS wanted, count(f) AS edges"
        )

        def read() -> None:
            nonlocal reads
            with place.open(read_only=True) as graph:
                opened.wait()
                ended = False
                while not ended:  # once more after the last write
                    ended = done.is_set()
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
            opened.wait()
            for start in range(0, len(records), 4):
                writer.put(records[start : start + 4], created(records))
                time.sleep(0.05)
            writer.remove([r.id for r in records[:4]])
            done.set()
            for thread in threads:
                thread.join()
        assert wrong == [] and reads > 0
