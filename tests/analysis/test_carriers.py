"""Carriers of an attack, compared with naive counts over the records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.analysis.carriers import carriers

from ..toy_studies import Answers, mechanism_items, study_of

TYPOGRAPHIC = "typographic(text=other class)"


def test_carriers_are_means_and_counts_over_classes():
    answers = Answers.to(mechanism_items())
    study = study_of(answers.records)
    table = carriers(study, TYPOGRAPHIC).set_index("edge")
    scores = np.stack([r.circuit.score for r in answers.records]).astype(float)
    for edge, row in table.iterrows():
        at = study.universe.edge_index[edge]
        assert row["circuits"] == sum(edge in r.circuit.edges for r in answers.records) > 0
        assert row["score"] == pytest.approx(scores[:, at].mean())
        assert row["error"] == pytest.approx(scores[:, at].std(ddof=1) / 2)
        assert row["positive"] == (scores[:, at] > 0).sum()
    assert table["score"].is_monotonic_decreasing
    assert table["circuits"].sum() == sum(r.circuit.n_edges for r in answers.records)
    assert table["by_chance"].iloc[0] * study.universe.n_edges == pytest.approx(table["circuits"].sum())


def test_methods_that_only_select_have_carriers_without_scores():
    records = [
        replace(r, circuit=replace(r.circuit, score=None, std=None)) for r in Answers.to(mechanism_items()).records
    ]
    table = carriers(study_of(records), TYPOGRAPHIC)
    assert list(table.columns) == ["edge", "circuits", "by_chance"]
    assert table["circuits"].is_monotonic_decreasing
