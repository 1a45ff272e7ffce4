"""The API of two circuits: the union with the side of each edge, gains by layer, and pairs that are not comparable."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator

import pandas as pd
import pytest
from circuitstore.query import compare_pair, pair_floors
from circuitstore.store import Store
from circuitstore.web import create_app
from circuitstore.web.access import Access
from starlette.testclient import TestClient

from ..toy_studies import toy_store, toys  # noqa: F401


@pytest.fixture
def client(toy_store: Store) -> Iterator[TestClient]:  # noqa: F811
    app = create_app(toy_store, Access.of("127.0.0.1", 8360, False))
    with TestClient(app, base_url="http://localhost:8360") as client:
        yield client


@pytest.fixture
def ids(toy_store: Store) -> dict[str, str]:  # noqa: F811
    """A natural and an attacked circuit of one class and study."""
    rows = toy_store.circuits(metric="logit", class_index=0)
    return dict(zip("ab", rows.sort_values("attack")["id"], strict=True))


def test_the_union_has_the_side_ranks_and_scores_of_each_edge(
    client: TestClient,
    toy_store: Store,  # noqa: F811
    ids: dict[str, str],
) -> None:
    page = client.get("/api/1/diff", params=ids).json()
    pair = compare_pair(toy_store, **ids)
    frame = pair.to_pandas().set_index("edge")
    names, edges = page["picture"]["nodes"]["name"], page["picture"]["edges"]
    found = {}
    for i, side in enumerate(edges["side"]):
        port = f"<{edges['port'][i]}>" if edges["port"][i] else ""
        edge = f"{names[edges['sender'][i]]}->{names[edges['receiver'][i]]}{port}"
        found[edge] = (side, edges["rank_a"][i], edges["rank_b"][i], edges["score_a"][i], edges["score_b"][i])
        assert abs(edges["score"][i]) == max(abs(edges["score_a"][i]), abs(edges["score_b"][i]))
        assert edges["rank"][i] == min(rank for rank in found[edge][1:3] if rank)
    assert set(found) == {*frame.index}
    for edge, row in frame.iterrows():
        assert found[edge][:3] == (row["side"], row["rank_a"], row["rank_b"])
        assert found[edge][3:] == pytest.approx((row["score_a"], row["score_b"]))
    assert edges["rank"] == sorted(edges["rank"])
    assert (page["jaccard"], page["change"], page["differing"]) == (pair.jaccard, True, ["condition"])


def test_gains_by_layer_sum_to_the_sides(client: TestClient, ids: dict[str, str]) -> None:
    page = client.get("/api/1/diff", params=ids).json()
    sides = Counter(page["picture"]["edges"]["side"])
    for side in ("both", "a", "b"):
        assert sum(layer[side] for layer in page["layers"]) == sides[side]
    assert [layer["layer"] for layer in page["layers"]] == [0, 1, 2, None]


def test_floors_are_those_of_the_pair(client: TestClient, toy_store: Store, ids: dict[str, str]) -> None:  # noqa: F811
    floors = pair_floors(toy_store, compare_pair(toy_store, **ids))
    page = client.get("/api/1/diff/floors", params=ids).json()
    assert (page["a"], page["b"]) == pytest.approx((floors.a.value, floors.b.value))
    assert (page["swapped"], page["p_swapped"]) == pytest.approx((floors.swapped.mean, floors.swapped.p))


def test_edges_leave_as_rows(client: TestClient, toy_store: Store, ids: dict[str, str]) -> None:  # noqa: F811
    text = client.get("/api/1/diff/edges", params={**ids, "as": "csv"}).text
    assert list(pd.read_csv(io.StringIO(text))["edge"]) == list(compare_pair(toy_store, **ids).to_pandas()["edge"])


def test_pairs_that_are_not_comparable_say_why(client: TestClient, toy_store: Store, ids: dict[str, str]) -> None:  # noqa: F811
    other = toy_store.circuits(metric="logit-diff")["id"][0]
    response = client.get("/api/1/diff", params={"a": ids["a"], "b": other})
    assert response.status_code == 400
    assert "both differ" in response.json()["error"]
