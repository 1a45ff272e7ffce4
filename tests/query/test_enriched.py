"""The named query `enriched-edges`: shares of circuits in a class and outside it, and their p-values."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.query import named_queries, run
from circuitstore.testing.factories import make_discovery, make_record
from scipy import stats

from ..toy_studies import Answers, effect_items
from .conftest import Library
from .oracles import study
from .test_answers import MANY


@pytest.mark.slow
def test_the_counts_are_those_of_the_circuits(library: Library) -> None:
    """Three circuits of each of ten classes."""
    table = run(library.store, "enriched-edges", {**MANY, "level": 1})
    assert list(table.frame) == list(named_queries()["enriched-edges"].columns)
    records = study(library, {**MANY, "condition": "natural"})
    frame = table.to_pandas()
    assert len(frame) > 50 and (frame["of"] == 3).all() and (frame["log_ratio"] > 0).all()
    for row in frame.sample(40, random_state=0).to_dict("records"):
        have = [r.item.target_class.name == row["class"] for r in records if row["edge"] in r.circuit.edges]
        assert (row["circuits"], row["others"]) == (sum(have), len(have) - sum(have))
        expected = stats.hypergeom.sf(row["circuits"] - 1, len(records), len(have), 3)
        assert row["p"] == pytest.approx(expected)
        assert row["log_ratio"] == pytest.approx(
            np.log2((row["circuits"] + 0.5) / 4 / ((row["others"] + 0.5) / (len(records) - 3 + 1)))
        )
    strict = run(library.store, "enriched-edges", MANY).to_pandas()
    assert len(strict) < len(frame) and (strict["p"] <= 0.05).all() and strict["p"].is_monotonic_increasing


def test_one_class_has_no_specific_edges(store_of) -> None:
    discovery = make_discovery(item=effect_items(1)[0])
    table = run(store_of(Answers([discovery], [make_record(discovery, 9)])), "enriched-edges")
    assert len(table) == 0 and "there is only one class" in table.notes
