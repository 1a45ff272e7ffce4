"""A LadybugDB graph of two circuits, opened by a reader and by a writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.ladybug.backend import LadybugGraph
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, created

RECORDS = make_records(2, n=12, n_layers=2, n_heads=2)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"ladybug://{tmp_path}/graph.lbdb"
    with open_graph(url, store_id=STORE) as graph:
        graph.put(RECORDS, created(RECORDS))
    return url


@pytest.fixture(params=["reader", "writer"])
def graph(request: pytest.FixtureRequest, url: str) -> Iterator[LadybugGraph]:
    with open_graph(url, store_id=STORE, read_only=request.param == "reader") as opened:
        assert isinstance(opened, LadybugGraph)
        yield opened
