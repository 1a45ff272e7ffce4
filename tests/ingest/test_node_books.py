"""The named query of node books on circuits of a method that conserves: inflow equals outflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from circuitstore.ingest import index, parse_spec
from circuitstore.query import run
from circuitstore.store import Store, open_store

SPEC = """
name = "books"
model = "digits"
[images]
source = "digits"
per_class = 6
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "conductance"
form = "block"
steps = 4
[[recipe]]
method = "conductance"
form = "block"
steps = 24
[[extract]]
top = 1.0
[[extract]]
edges = 8
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("books")
    assert index(parse_spec(SPEC), location=folder, progress=False).failed == {}
    with open_store(folder) as store:
        yield store


def books(store: Store, extraction: str, steps: int) -> Iterator[pd.DataFrame]:
    """The node books of each circuit, by node."""
    circuits = store.circuits()
    found = circuits[circuits["extraction"].str.startswith(extraction) & circuits["method"].str.contains(f"={steps}")]
    assert len(found) == 1
    for circuit in found["id"]:
        yield run(store, "node-books", {"circuit": circuit}).to_pandas().set_index("node")


def imbalance(book: pd.DataFrame) -> float:
    """The largest imbalance of an inner node, and that between the ends, as shares of the outflow of `input`."""
    inner = book.drop(["input", "logits"])
    ends = abs(book.loc["logits", "full_in"] - book.loc["input", "full_out"])
    return max((inner["full_in"] - inner["full_out"]).abs().max(), ends) / abs(book.loc["input", "full_out"])


@pytest.mark.slow
def test_inflow_approaches_outflow_with_more_steps(store: Store) -> None:
    for few, many in zip(books(store, "top", 4), books(store, "top", 24), strict=True):
        assert imbalance(many) < 0.2 * imbalance(few)
        assert imbalance(many) < 0.01


def test_all_edges_cover_all_that_flows(store: Store) -> None:
    for book in books(store, "top", 24):
        assert book.drop("input")["covered_in"].to_numpy() == pytest.approx(1, abs=1e-4)
        assert book.drop("logits")["covered_out"].to_numpy() == pytest.approx(1, abs=1e-4)
        assert book.loc["input", ["inflow", "full_in"]].tolist() == [0, 0]
        assert pd.isna(book.loc["input", "covered_in"]) and pd.isna(book.loc["logits", "covered_out"])


def test_a_circuit_covers_a_part_of_what_all_edges_carry(store: Store) -> None:
    for few, every in zip(books(store, "edges", 24), books(store, "top", 24), strict=True):
        same = every.loc[few.index]
        assert few[["full_in", "full_out"]].to_numpy() == pytest.approx(same[["full_in", "full_out"]].to_numpy())
        for flow in ("in", "out"):
            covered = few[f"covered_{flow}"] * few[f"full_{flow}"]
            assert covered.fillna(0).to_numpy() == pytest.approx(few[f"{flow}flow"].to_numpy(), rel=1e-6, abs=1e-12)
        assert (few["inflow"] - same["inflow"]).abs().max() > 0
