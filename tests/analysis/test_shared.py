"""What circuits share, compared with naive counts over their edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from circuitstore.analysis.shared import SHARES, core_edges, core_sizes, specific_edges, usage_by_kind
from circuitstore.circuits import Circuit

from ..toy_studies import Answers, effect_items


@pytest.fixture(scope="module")
def circuits() -> list[Circuit]:
    return [r.circuit for r in Answers.to(effect_items(4, ("natural",))).records]


def test_a_consensus_circuit_has_edges_of_that_share_of_the_circuits(circuits):
    table = core_sizes(circuits)
    assert table["circuits"].tolist() == [4, 3, 2]
    for row in table.to_dict("records"):
        often = [e for e in circuits[0].universe.edge_names if sum(e in c.edges for c in circuits) >= row["circuits"]]
        assert row["edges"] <= len(often)
    assert table["edges"].is_monotonic_increasing


def test_the_expected_number_by_chance_is_that_of_independent_circuits(circuits):
    n_edges = circuits[0].universe.n_edges
    sizes = [c.n_edges / n_edges for c in circuits]
    for row in core_sizes(circuits).to_dict("records"):
        expected = 0.0
        for has in itertools.product([False, True], repeat=4):
            if sum(has) >= row["circuits"]:
                expected += np.prod([p if h else 1 - p for h, p in zip(has, sizes, strict=True)])
        assert row["by_chance"] == pytest.approx(n_edges * expected)


def test_core_edges_are_those_of_the_largest_consensus_circuit(circuits):
    table = core_edges(circuits)
    assert len(table) == core_sizes(circuits)["edges"].iloc[-1]
    for row in table.to_dict("records"):
        having = [c for c in circuits if row["edge"] in c.edges]
        assert row["circuits"] == len(having) >= SHARES[-1] * len(circuits)
        places = [c.order.tolist().index(c.universe.edge_index[row["edge"]]) + 1 for c in having]
        assert row["mean_rank"] == pytest.approx(np.mean(places))


def test_specific_edges_are_in_one_of_few_circuits(circuits):
    names = ["a", "b", "c", "d"]
    table = specific_edges(names, circuits)
    expected = {
        (name, edge)
        for name, circuit in zip(names, circuits, strict=True)
        for edge in circuit.edges
        if sum(edge in c.edges for c in circuits) == 1
    }
    assert {(row["class"], row["edge"]) for row in table.to_dict("records")} == expected
    assert (table["others"] == 0).all()
    assert table["p"].tolist() == pytest.approx([1 / 4] * len(table))


def test_equal_circuits_have_no_specific_edges(circuits):
    table = specific_edges(["a", "b"], [circuits[0]] * 2)
    assert table.empty and list(table) == ["class", "edge", "others", "log_ratio", "p"]


def test_the_use_of_components_sums_to_1(circuits):
    table = usage_by_kind(circuits)
    assert table[["share", "even"]].sum().tolist() == pytest.approx([1, 1])
    whole = Circuit(circuits[0].universe, np.ones(circuits[0].universe.n_edges, bool))
    same = usage_by_kind([whole])
    assert same["share"].tolist() == pytest.approx(same["even"].tolist())
    ends = [end for edge in circuits[0].universe.edge_names for end in [edge.split("->")[0]] if end == "input"]
    assert same.set_index("kind")["share"]["input"] == pytest.approx(len(ends) / (2 * whole.n_edges))
