"""The API of the overview, the list of circuits and queries: the rows are those of the library."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pandas as pd
import pytest
from circuitstore import query as queries
from circuitstore.plain import as_csv, plain
from circuitstore.store import Part, Store
from circuitstore.web import create_app
from circuitstore.web.access import Access
from starlette.testclient import TestClient

from ..toy_studies import Answers, toy_store, toys  # noqa: F401


@pytest.fixture(scope="module")
def client(toy_store: Store) -> Iterator[TestClient]:  # noqa: F811
    app = create_app(toy_store, Access.of("127.0.0.1", 8360, False))
    with TestClient(app, base_url="http://localhost:8360") as client:
        yield client


def frame_of(answer: dict) -> pd.DataFrame:
    return pd.DataFrame(answer["rows"], columns=answer["columns"])


@pytest.mark.parametrize("sort", ["class", "n_edges", "faithfulness", "created_ms"])
@pytest.mark.parametrize("descending", [True, False])
def test_pages_are_parts_of_one_order(toy_store: Store, sort: str, descending: bool) -> None:  # noqa: F811
    whole = toy_store.part_of_circuits(part=Part(sort, descending, 0, 1000)).to_pandas()
    parts = [toy_store.part_of_circuits(part=Part(sort, descending, at, 5)).to_pandas() for at in (0, 5, 10)]
    assert [id for part in parts for id in part["id"]] == [*whole["id"][:15]]
    assert sorted(whole["id"]) == sorted(toy_store.circuits()["id"])
    values = whole[sort].dropna()
    assert [*values] == sorted(values, reverse=descending) and whole[sort].notna()[: len(values)].all()


def test_parts_have_the_columns_of_circuits(toy_store: Store) -> None:  # noqa: F811
    chosen = {"class": "class-1", "counts": True}
    part, all_ = toy_store.part_of_circuits("toys", **chosen), toy_store.circuits("toys", **chosen)
    assert part.facts["total"] == len(all_) > 0
    pd.testing.assert_frame_equal(
        part.to_pandas().sort_values("id", ignore_index=True), all_.sort_values("id", ignore_index=True)
    )


def test_a_page_of_circuits(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    query = {"limit": 3, "offset": 1, "sort": "n_edges", "class": ["class-0", "class-1"]}
    found = client.get("/api/1/circuits", params=query).json()
    of_classes = toy_store.circuits(**{"class": ["class-0", "class-1"]})
    assert found["total"] == len(of_classes) and len(found["rows"]) == 3
    assert set(frame_of(found)["class"]) <= {"class-0", "class-1"}


def test_every_circuit_is_downloaded_in_each_format(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    ids = toy_store.part_of_circuits(part=Part(limit=1000)).to_pandas()["id"].tolist()
    answers = {
        form: client.get("/api/1/circuits", params={"as": form, "limit": 1}) for form in ("csv", "json", "parquet")
    }
    assert pd.read_csv(io.BytesIO(answers["csv"].content))["id"].tolist() == ids
    assert [row["id"] for row in answers["json"].json()] == ids
    assert pd.read_parquet(io.BytesIO(answers["parquet"].content))["id"].tolist() == ids
    names = [answer.headers["content-disposition"] for answer in answers.values()]
    assert names == [f'attachment; filename="circuits.{form}"' for form in answers]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"sort": "edges"}, 400, "n_edges"),
        ({"run": "none"}, 400, "none"),
        ({"limit": 10**6}, 422, "1000"),
        ({"offset": -1}, 422, "0"),
        ({"as": "xml"}, 422, "csv"),
    ],
)
def test_wrong_requests_say_what_was_expected(client: TestClient, query: dict, status: int, message: str) -> None:
    answer = client.get("/api/1/circuits", params=query)
    assert (answer.status_code, message in answer.text) == (status, True)


def test_choices_are_the_values_of_the_store(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    found, circuits = client.get("/api/1/circuits/choices").json(), toy_store.circuits()
    assert found["values"]["class"] == circuits["class"].value_counts().to_dict()
    assert found["single"]["dataset"] == "toys" and "dataset" not in found["values"]
    assert found["runs"] == ["toys"] and found["not_shown"] == {}


def test_the_overview_counts_what_is_stored(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    found, circuits = client.get("/api/1/overview").json(), toy_store.circuits()
    assert found["store"] == toy_store.id and found["writer"] is None and found["notes"] is False
    counts = found["counts"]
    assert (counts["circuits"], counts["circuits that count"]) == (len(circuits), circuits["counts"].sum())
    assert counts["classes"] == circuits["class"].nunique()
    (run,) = found["runs"]
    assert (run["run"], run["done"], run["left_s"]) == ("toys", run["items"], None)
    graph = client.get("/api/1/overview/graph").json()
    assert (graph["missing"], graph["error"]) == (0, None)


def test_studies_and_their_faithfulness(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    circuits = toy_store.circuits()
    studies = frame_of(client.get("/api/1/overview/studies").json())
    assert studies["circuits"].sum() == len(circuits) and studies["circuits"].is_monotonic_decreasing
    assert len(studies) == len(queries.read_studies(toy_store))
    metric = studies["metric"][0]
    answer = client.get("/api/1/overview/faithfulness", params={"metric": metric, "limit": 2}).json()
    of_study = circuits.loc[circuits["counts"] & (circuits["metric"] == metric)]
    assert answer["total"] == of_study["faithfulness"].notna().sum() and len(answer["rows"]) == min(2, answer["total"])
    known = of_study.set_index("id")["faithfulness"]
    assert all(known[id] == value for id, value in frame_of(answer)[["id", "faithfulness"]].itertuples(index=False))


def test_the_named_queries_are_those_of_the_library(client: TestClient) -> None:
    found = {query["name"]: query for query in client.get("/api/1/query/named").json()}
    assert list(found) == list(queries.named_queries())
    assert found["top-edges"]["parameters"][1] == {
        "name": "limit",
        "type": "integer",
        "required": False,
        "default": "20",
        "about": "number of edges",
    }


def test_named_queries_give_the_rows_of_the_library(client: TestClient, toy_store: Store, toys: Answers) -> None:  # noqa: F811
    id = toys.records[0].id
    query = {"text": "top-edges", "p.circuit": id[:12], "p.limit": "5"}
    answer, table = (
        client.get("/api/1/query", params=query).json(),
        queries.run(toy_store, "top-edges", {"circuit": id, "limit": 5}),
    )
    assert answer["rows"] == [[plain(value) for value in row.values()] for row in table]
    assert answer["notes"] == list(table.notes)
    assert client.get("/api/1/query", params=query | {"as": "csv"}).text == as_csv(table.to_pandas())


def test_cypher_is_guarded_limited_and_takes_values(client: TestClient) -> None:
    def ask(text: str, **more: object):
        return client.get("/api/1/query", params={"text": text, **more})

    found = ask("MATCH (c:Circuit) WHERE c.class IN $names RETURN count(*) AS n", **{"p.names": '["class-0"]'}).json()
    assert found["rows"] == [[3]]
    assert "not allowed" in ask("MATCH (c:Circuit) DETACH DELETE c").json()["error"]
    cut = ask("MATCH (c:Circuit) RETURN c.id", max_rows=2).json()
    assert len(cut["rows"]) == 2 and "first 2 rows" in cut["notes"][0]
    assert ask("MATCH (c:Circuit) RETURN c.id", max_rows=10_001).status_code == 422
    assert ask("MATCH (c:Circuit) RETURN c.id", timeout_s=31).status_code == 422
    assert "unknown named query" in ask("no-such-query").json()["error"]


def test_the_api_is_described(client: TestClient) -> None:
    described = client.get("/api/1/openapi.json").json()
    for path in ("/circuits", "/circuits/choices", "/overview", "/query", "/query/named"):
        operation = described["paths"][f"/api/1{path}"]["get"]
        assert operation["description"] and operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert json.dumps(described).count("/api/1/circuits")


def test_every_page_is_served_with_its_module(client: TestClient) -> None:
    for path, module in {"/": "overview", "/circuits": "circuits", "/query": "query"}.items():
        page = client.get(path)
        assert page.headers["cache-control"] == "no-cache"
        (url,) = [part for part in page.text.split('"') if part.endswith(f"/pages/{module}.js")]
        script = client.get(url)
        assert script.headers["content-type"].startswith("text/javascript")
        assert "immutable" in script.headers["cache-control"]
