"""The API of a component: which circuits have it, and the scores of its edges in each, as the records have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.store import Store, open_store
from circuitstore.web import create_app
from circuitstore.web.access import Access
from starlette.testclient import TestClient

NODE = "a1.h0"


@pytest.fixture(scope="module")
def store(explored: Path) -> Iterator[Store]:
    with open_store(explored) as store:
        yield store


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[TestClient]:
    app = create_app(store, Access.of("127.0.0.1", 8360, False))
    with TestClient(app, base_url="http://localhost:8360") as client:
        yield client


def test_scores_are_those_of_the_circuits_that_have_the_component(client: TestClient, store: Store) -> None:
    page = client.get(f"/api/1/heads/{NODE}").json()
    assert {one["id"] for one in page["circuits"]} == {*store.circuits()["id"]}
    (study,) = page["studies"]
    assert study["having"] == sum(one["has"] for one in page["circuits"])
    for at, one in enumerate(page["circuits"]):
        record = store.circuit(one["id"])
        frame = record.to_pandas().set_index("edge")
        own = frame.loc[(frame["sender"] == NODE) | (frame["receiver"] == NODE), "score"]
        found = {edge: row[at] for edge, row in zip(page["edges"], page["scores"], strict=True) if row[at] is not None}
        assert found == pytest.approx(own.to_dict())
        assert one["has"] == (NODE in record.circuit.nodes)
        if one["has"]:
            row = record.circuit.universe.node_index[NODE]
            assert (one["full_in"], one["full_out"]) == pytest.approx((record.full_in[row], record.full_out[row]))
    shares = [sum(score is not None for score in row) for row in page["scores"]]
    assert shares == sorted(shares, reverse=True)


def test_a_component_that_the_models_do_not_have_is_an_error(client: TestClient) -> None:
    response = client.get("/api/1/heads/a77.h1")
    assert response.status_code == 400
    assert "'a77.h1'" in response.json()["error"]
    assert "unknown study" in client.get(f"/api/1/heads/{NODE}?study=x").json()["error"]
