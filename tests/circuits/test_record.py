"""Identity, checksum and evaluation of a stored circuit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import CircuitRecord, Discovery, Evaluation, Extraction
from circuitstore.testing.factories import make_discovery, make_item, make_record, make_records


@pytest.fixture(scope="module")
def record() -> CircuitRecord:
    return make_record(make_discovery(0))


def test_the_id_is_question_and_extraction(record: CircuitRecord) -> None:
    same = make_record(make_discovery(0))
    others = [
        make_record(make_discovery(1)),
        make_record(make_discovery(0, item=make_item(attack="typographic"))),
        replace(record, extraction=Extraction.of("edges", {"n": 41})),
        replace(record, extraction=Extraction.of("top", {"n": 40})),
        replace(record, extraction=Extraction.of("edges", {"n": 40}, version=2)),
    ]
    assert same.id == record.id
    assert len({record.id, *(o.id for o in others)}) == 1 + len(others)
    assert record.discovery_id == record.item.id


def test_the_checksum_covers_members_order_values_and_evaluation(record: CircuitRecord) -> None:
    circuit, edge = record.circuit, record.circuit.order[0]

    def nudged(values: np.ndarray | None, at: int) -> np.ndarray:
        assert values is not None
        other = np.array(values, np.float32)
        other[at] = np.nextafter(other[at], np.float32(np.inf))
        return other

    assert record.evaluation is not None
    reversed_order = replace(circuit, order=circuit.order[::-1])
    others = [
        replace(record, circuit=reversed_order),
        replace(record, circuit=replace(circuit, size_requested=41)),
        replace(record, n_images=9),
        replace(record, circuit=replace(circuit, score=nudged(circuit.score, edge))),
        replace(record, circuit=replace(circuit, std=nudged(circuit.std, edge))),
        replace(record, frequency=nudged(record.frequency, edge)),
        replace(record, full_in=nudged(record.full_in, 0)),
        replace(record, full_out=nudged(record.full_out, 0)),
        replace(record, circuit=replace(circuit, score=None)),
        replace(record, circuit=replace(circuit, std=None)),
        replace(record, evaluation=None),
        replace(record, evaluation=replace(record.evaluation, metric_circuit=0.5)),
    ]
    assert len({record.sha256, *(o.sha256 for o in others)}) == 1 + len(others)
    assert {o.id for o in others} == {record.id}


def test_the_checksum_is_that_of_the_circuit_alone(record: CircuitRecord) -> None:
    outside = int(np.flatnonzero(~record.circuit.members)[0])
    assert record.circuit.score is not None
    score = record.circuit.score.copy()
    score[outside] += 1
    assert replace(record, circuit=replace(record.circuit, score=score)).sha256 == record.sha256


def test_properties_are_those_of_the_graph_node(record: CircuitRecord) -> None:
    found = record.properties()
    assert found["id"] == record.id
    assert found["n_edges"] == len(record.circuit.edges)
    assert found["n_nodes"] == len(record.circuit.nodes)
    assert found["faithfulness_random"] == pytest.approx(((1.5 + 1.25) / 2 - 1) / 4)
    bare = replace(record, evaluation=None).properties()
    assert list(bare) == list(found)
    assert bare["n_eval"] == 0
    assert bare["faithfulness"] is None


def test_every_result_has_the_exports(record: CircuitRecord, tmp_path: Path) -> None:
    discovery = make_discovery(0)
    assert record.evaluation is not None and discovery.scores is not None
    for result in (record, record.evaluation, discovery):
        result.to_parquet(tmp_path / "frame.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "frame.parquet"), result.to_pandas())
        assert "<table" in result._repr_html_()
        assert len(repr(result)) < 400
    assert record.id[:12] in repr(record) and discovery.id[:12] in repr(discovery)
    assert set(record.to_networkx()) == set(record.circuit.nodes)
    pd.testing.assert_frame_equal(discovery.to_pandas(), discovery.scores.to_pandas())
    assert discovery.to_networkx().number_of_edges() >= discovery.scores.graph.n_edges


def test_the_frame_of_a_record_has_all_columns_of_its_members(record: CircuitRecord) -> None:
    frame = record.to_pandas()
    assert tuple(frame["edge"]) == record.circuit.edges
    known = {"score": record.circuit.score, "std": record.circuit.std, "frequency": record.frequency}
    for name, values in known.items():
        assert values is not None
        np.testing.assert_array_equal(frame[name], values[record.circuit.members])
    bare = replace(record, frequency=None, circuit=replace(record.circuit, score=None, std=None))
    assert list(bare.to_pandas()) == ["edge", "sender", "receiver", "port", "rank"]


def test_a_method_that_only_selects_exports_its_selection(record: CircuitRecord) -> None:
    selected = Discovery(record.item, None, (), members=record.circuit.members)
    assert tuple(selected.to_pandas()["edge"]) == record.circuit.edges
    assert set(selected.to_networkx()) == set(record.circuit.nodes)


def test_an_evaluation_is_one_row_with_null_for_undefined_figures() -> None:
    undefined = Evaluation(4, 1.0, 1.0, 1.0, None, 1.0, 0.1, 0.9, None, (1.0,), {"faithfulness": "no gap"})
    frame = undefined.to_pandas()
    assert len(frame) == 1 and frame["metric_full"][0] == 1.0
    assert frame[["faithfulness", "retention", "faithfulness_random"]].isna().all(axis=None)
    assert frame["reasons"][0] == "faithfulness: no gap"


def test_random_circuits_have_no_faithfulness_if_it_is_undefined() -> None:
    undefined = Evaluation(4, 1.0, 1.0, 1.0, None, 1.0, 0.1, 0.9, None, (1.0,), {"faithfulness": "no gap"})
    assert undefined.faithfulness_random is None
    assert Evaluation(4, 2.0, 1.0, 1.5, 0.5, 1.0, 0.1, 0.9, 0.9).faithfulness_random is None


def test_generated_records_all_differ() -> None:
    records = make_records(40)
    assert len({r.id for r in records}) == 40
    assert [r.sha256 for r in make_records(40)] == [r.sha256 for r in records]
