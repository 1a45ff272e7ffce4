"""The named query `edge-stability`: frequency as stored, verdicts as certified, and circuits without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from circuitstore.circuits import EdgeScores, bootstrap_frequency, certify_edges, replication, stability_curve
from circuitstore.query import named_queries, run
from circuitstore.store import Store
from circuitstore.testing.factories import make_discovery, make_item, make_record
from pandas.testing import assert_frame_equal

from ..toy_studies import Answers


def test_the_rows_agree_with_the_stored_circuit(toy_store: Store, toys: Answers) -> None:
    record, scores = toys.records[0], toys.discoveries[0].scores
    table = run(toy_store, "edge-stability", {"circuit": record.id[:16]})
    assert list(table.frame) == list(named_queries()["edge-stability"].columns)
    frame = table.to_pandas().set_index("edge")
    members = frame[frame["member"]]
    assert set(members.index) == set(record.circuit.edges)
    at = [record.circuit.universe.edge_names.index(edge) for edge in frame.index]
    frequency = bootstrap_frequency(scores.per_image, record.circuit.size_requested)
    np.testing.assert_array_equal(frequency[record.circuit.members], record.frequency[record.circuit.members])
    np.testing.assert_array_equal(frame["frequency"], frequency[at].astype(float))
    np.testing.assert_array_equal(frame["replication"], replication(frequency.astype(float))[at])
    np.testing.assert_allclose(frame["score"], scores.mean[at], rtol=1e-2, atol=1e-2)
    certified = certify_edges(scores.per_image, record.circuit.size_requested)
    for verdict, mask in (("certain", certified.included), ("excluded", certified.excluded)):
        np.testing.assert_array_equal(frame["verdict"] == verdict, mask[at])
        assert table.facts[verdict] == mask.sum()
    assert len(frame) == (record.circuit.members | ~certified.excluded).sum()
    assert table.facts["abstained"] == certified.abstained.sum() == (frame["verdict"] == "abstained").sum()


def test_circuits_without_ranks_have_no_rows(toys: Answers, store_of) -> None:
    discovery, record = toys.discoveries[0], toys.records[0]
    means = replace(discovery, scores=EdgeScores(discovery.universe, discovery.scores.mean))
    table = run(store_of(Answers([means], [record])), "edge-stability", {"circuit": record.id})
    assert len(table) == 0 and list(table.frame) == list(named_queries()["edge-stability"].columns)
    assert any("scores of single images were not kept" in note for note in table.notes)


def test_the_curve_is_that_of_the_scores_per_image(toy_store: Store, toys: Answers) -> None:
    record, scores = toys.records[0], toys.discoveries[0].scores
    table = run(toy_store, "stability-by-images", {"circuit": record.id, "jaccard": 0.9})
    curve = stability_curve(scores.per_image, record.circuit.size_requested)
    assert_frame_equal(table.to_pandas(), curve.to_pandas())
    assert list(table.frame) == list(named_queries()["stability-by-images"].columns)
    assert (table.facts["images_for"], table.facts["doubled"]) == (curve.images_for(0.9), curve.doubled)


def test_few_images_have_no_curve(store_of) -> None:
    discovery = make_discovery(item=make_item(), n_images=5)
    record = make_record(discovery)
    table = run(store_of(Answers([discovery], [record])), "stability-by-images", {"circuit": record.id})
    assert len(table) == 0 and any("fewer than 6 images" in note for note in table.notes)
