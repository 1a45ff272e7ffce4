"""A method whose scores are shares, from spec to comparison and report: no step ranks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from circuitstore.analysis.report import write_report
from circuitstore.circuits import halvings, joining_order
from circuitstore.circuits.similarity import jaccard, overlap_at, spearman
from circuitstore.errors import InputError
from circuitstore.ingest import index, parse_spec
from circuitstore.query import compare
from circuitstore.query.measures import MEASURES
from circuitstore.store import Store, open_store

SPEC = """
name = "routes"
model = "digits"
[images]
source = "digits"
per_class = 16
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[recipe]]
method = "flow-routes"
form = "block"
[[extract]]
threshold = 0.2
[[extract]]
edges = 8
"""


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two classes, each with a circuit by threshold and one grown from `logits`."""
    folder = tmp_path_factory.mktemp("routes")
    done = index(parse_spec(SPEC), location=folder, progress=False)
    assert (done.circuits, done.failed) == (4, {})
    with open_store(folder) as store:
        yield store


@pytest.mark.slow
def test_a_half_is_cut_where_as_many_edges_reach_the_share(routes: Store) -> None:
    table = compare(routes, extraction="threshold(t=0.2)")
    floors = []
    for row in routes.circuits(extraction="threshold(t=0.2)").to_dict("records"):
        scores = routes.discovery(row["discovery_id"]).scores
        assert scores is not None
        values = []
        for halves in halvings(scores, seed=0):
            cuts = []
            for half in halves:
                kept = joining_order(half.graph, half.mean, "top", limit=row["size_requested"])
                circuit = half.threshold(float(half.mean[kept].min()))
                assert circuit.members[kept].sum() == circuit.n_edges  # no tie at the cut
                cuts.append(circuit)
            values.append(jaccard(*cuts))
        floors.append(np.mean(values))
    assert table.frame["noise_floor"].tolist() == pytest.approx([np.mean(floors)])


def test_circuits_cut_at_a_share_and_grown_are_compared_and_reported(routes: Store, tmp_path: Path) -> None:
    table = compare(routes)
    assert len(table) == 2 and table.frame["noise_floor"].notna().all()
    page = write_report(routes, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "threshold(t=0.2)" in page and "edges(n=8)" in page


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_of_rankings_raise_errors_that_name_those_for_shares(routes: Store, measure: str) -> None:
    one, other = (routes.discovery(id).scores for id in routes.items()["id"])
    if measure not in ("overlap", "spearman"):
        assert compare(routes, measure=measure).facts["noise_floor"] > 0
        return
    for ask in (
        lambda: compare(routes, measure=measure),
        lambda: spearman(one, other) if measure == "spearman" else overlap_at(one, other, 5),
    ):
        with pytest.raises(InputError, match=rf"{measure}: these scores are shares.*jaccard"):
            ask()


def test_shares_have_no_bootstrap_frequency(routes: Store) -> None:
    for id in routes.circuits()["id"]:
        assert routes.circuit(id).frequency is None
    assert len(routes.query("MATCH ()-[f:FEEDS]->() WHERE f.frequency IS NOT NULL RETURN f.edge")) == 0
