"""Comparison of circuits of two forms in the coarser one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import CircuitRecord, ComputationGraph
from circuitstore.errors import NotComparable
from circuitstore.query import compare
from circuitstore.query.floors import floor_of
from circuitstore.query.forms import projected
from circuitstore.query.measures import get_measure
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from .conftest import fill

FORMS = ("split", "head", "attention", "block")


def in_form(edge: str, form: str) -> str:
    """Return the name of the edge of a coarser form that contains an edge of the split form."""
    sender, receiver = edge.split("->")
    receiver = receiver.partition("<")[0]
    if form in ("attention", "block"):
        receiver = re.sub(r"^(a\d+)\.(h\d+|in)$", r"\1" if form == "block" else r"\1.in", receiver)
    return f"{sender.partition('.')[0] if form == 'block' else sender}->{receiver}"


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, CircuitRecord]]]:
    """One question, answered in every form."""
    discoveries = {f: make_discovery(item=make_item(form=f, n_layers=3, n_heads=2)) for f in FORMS}
    records = {f: make_record(discovery, 14) for f, discovery in discoveries.items()}
    with create_store(tmp_path_factory.mktemp("forms") / "data") as store:
        fill(store, [(discoveries[f], [records[f]]) for f in FORMS])
        yield store, records


@pytest.mark.parametrize("measure", ["jaccard", "dice"])
def test_circuits_of_two_forms_are_compared_in_the_coarser_one(forms: Any, measure: str) -> None:
    store, records = forms
    table = compare(store, "form", measure=measure)
    assert {(row["a"], row["b"]) for row in table} == set(combinations(sorted(FORMS), 2))
    for row in table:
        form = max(row["a"], row["b"], key=FORMS.index)
        a, b = (
            {in_form(edge, form) if f != form else edge for edge in records[f].circuit.edges}
            for f in (row["a"], row["b"])
        )
        assert (row["edges_a"], row["edges_b"], row["common"]) == (len(a), len(b), len(a & b))
        whole = len(a | b) if measure == "jaccard" else (len(a) + len(b)) / 2
        assert row[measure] == pytest.approx(len(a & b) / whole)
        assert pd.isna(row["chance"])
        own = store.discovery(records[form].discovery_id)
        halved = floor_of(records[form], own, get_measure(measure))
        assert halved is not None and row["noise_floor"] == pytest.approx(halved.value)
    assert any(note.startswith("two forms are compared in the coarser one") for note in table.notes)
    assert table.frame[measure].min() > 0


def test_nodes_of_two_forms_are_compared(forms: Any) -> None:
    store, records = forms
    (row,) = compare(store, "form", measure="node-jaccard", form=["split", "head"])
    a, b = (set(records[f].circuit.nodes) for f in ("head", "split"))
    assert row["node_jaccard"] == pytest.approx(len(a & b) / len(a | b))
    with pytest.raises(NotComparable, match=r"form: .*compare them as sets of edges: jaccard"):
        compare(store, "form", measure="spearman")


def test_every_edge_of_a_finer_form_is_part_of_one_coarser_edge() -> None:
    split = ComputationGraph(3, 2, "split")
    for form in FORMS[1:]:
        target = ComputationGraph(3, 2, form)
        for i, edge in enumerate(split.edge_names):
            one = np.arange(split.n_edges) == i
            assert [target.edge_names[j] for j in np.flatnonzero(projected(split, one, target))] == [
                in_form(edge, form)
            ]
