"""The API of a circuit: columns are those of the record, curves those of the drawing, files those of export."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from circuitstore.circuits import Circuit
from circuitstore.formats import FORMATS, encoded
from circuitstore.query.floors import floor_of
from circuitstore.query.measures import get_measure
from circuitstore.store import Store
from circuitstore.web import create_app
from circuitstore.web.access import Access
from starlette.testclient import TestClient

from ..toy_studies import SHAPE, Answers, make_item, store_of, toy_store, toys  # noqa: F401

URL = "http://localhost:8360"


def client_of(store: Store) -> TestClient:
    return TestClient(create_app(store, Access.of("127.0.0.1", 8360, False)), base_url=URL)


@pytest.fixture
def client(toy_store: Store) -> Iterator[TestClient]:  # noqa: F811
    with client_of(toy_store) as client:
        yield client


def path_of(picture: dict, edge: int) -> list[float]:
    """Return the coordinates of an edge as the browser computes them from the columns."""
    nodes, edges, place = (picture[name] for name in ("nodes", "edges", "layout"))
    sender, receiver = edges["sender"][edge], edges["receiver"][edge]
    half = place["node"][0] / 2
    x0, y0 = nodes["x"][sender] + half, nodes["y"][sender]
    x1, y1 = nodes["x"][receiver] - half, nodes["y"][receiver] + place["ports"][edges["port"][edge]]
    reach = max(place["reach"][0] * (x1 - x0), place["reach"][1])
    bow = edges["bow"][edge]
    return [x0, y0, x0 + reach, y0 + bow, x1 - reach, y1 + bow, x1, y1]


def drawn_paths(circuit: Circuit) -> dict[str, list[float]]:
    """Return the coordinates of each edge of the drawing of the report, by name."""
    found = re.findall(r'<path d="([^"]+)" stroke[^>]*><title>([^ ,]+)', circuit.draw(max_edges=circuit.n_edges).svg)
    return {
        name.replace("&gt;", ">").replace("&lt;", "<"): [float(x) for x in re.findall(r"-?\d+", d)] for d, name in found
    }


def test_columns_are_those_of_the_record_in_the_order_of_extraction(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    record = toy_store.circuit(toy_store.circuits()["id"][0])
    page = client.get(f"/api/1/circuits/{record.id[:12]}").json()
    edges, names = page["picture"]["edges"], page["picture"]["nodes"]["name"]
    frame = record.to_pandas().sort_values("rank")
    assert page["id"] == record.id
    assert [names[row] for row in edges["sender"]] == list(frame["sender"])
    assert [names[row] for row in edges["receiver"]] == list(frame["receiver"])
    assert edges["port"] == list(frame["port"])
    assert edges["rank"] == list(frame["rank"]) == list(range(1, len(frame) + 1))
    for column in ("score", "std", "frequency"):
        assert np.array_equal(np.array(edges[column], np.float32), frame[column].astype(np.float32))
    on = [name for name, on in zip(names, page["picture"]["nodes"]["on"], strict=True) if on]
    assert tuple(on) == record.circuit.nodes
    assert page["properties"]["n_edges"] == record.circuit.n_edges
    assert page["metric_random"] == list(record.evaluation.metric_random)


@pytest.mark.parametrize("form", ["split", "attention", "block"])
def test_curves_are_those_of_the_drawing(store_of: Callable[[Answers], Store], form: str) -> None:  # noqa: F811
    store = store_of(Answers.to([make_item(form=form, **SHAPE)], n=20))
    circuit = store.circuit(store.circuits()["id"][0]).circuit
    with client_of(store) as client:
        picture = client.get(f"/api/1/circuits/{store.circuits()['id'][0]}").json()["picture"]
    drawn = drawn_paths(circuit)
    names = [circuit.universe.edge_names[i] for i in circuit.order]
    assert len(drawn) == circuit.n_edges
    for edge, name in enumerate(names):
        assert path_of(picture, edge) == pytest.approx(drawn[name], abs=1)  # whole pixels in the file
    links = [[picture["nodes"]["name"][row] for row in link] for link in picture["links"]]
    assert links == [list(link) for link in circuit.links]


def test_others_differ_in_class_or_condition_only(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    rows = toy_store.circuits(metric="logit")
    found = client.get(f"/api/1/circuits/{rows['id'][0]}/others").json()
    assert {other["id"] for other in found["circuits"]} == {*rows["id"][1:]}
    assert found["circuits"][0]["cls"] == rows["class"][0]  # the same class first
    assert found["total"] == len(found["circuits"])


def test_noise_floor_is_that_of_the_comparison(client: TestClient, toy_store: Store) -> None:  # noqa: F811
    record = toy_store.circuit(toy_store.circuits()["id"][0])
    floor = floor_of(record, toy_store.discovery(record.discovery_id), get_measure("jaccard"))
    found = client.get(f"/api/1/circuits/{record.id}/floor").json()
    assert found == {"value": pytest.approx(floor.value), "changed": pytest.approx(floor.n_changed)}


@pytest.mark.parametrize("format", ["eap-ig", "csv", "mib", "matrix"])
def test_files_are_those_of_export(client: TestClient, toy_store: Store, format: str) -> None:  # noqa: F811
    id = toy_store.circuits()["id"][0]
    assert {"key": format, "name": FORMATS[format].name} in client.get(f"/api/1/circuits/{id}").json()["formats"]
    files = encoded([toy_store.circuit(id)], format)
    response = client.get(f"/api/1/circuits/{id}/export/{format}")
    name = re.search('filename="(.*)"', response.headers["content-disposition"]).group(1)
    if list(files) == [""]:
        assert response.content == files[""]
        assert name == f"{format}-{id[:12]}{FORMATS[format].suffix}"
    else:
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            assert {path: archive.read(path) for path in archive.namelist()} == files
        assert name.endswith(".zip")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("circuits/ffff", "no circuit"),
        ("circuits/{id}/export/pickle", "unknown format 'pickle'"),
        ("circuits/{id}/export/acdc", "only read"),
    ],
)
def test_errors_are_messages(client: TestClient, toy_store: Store, path: str, message: str) -> None:  # noqa: F811
    response = client.get("/api/1/" + path.format(id=toy_store.circuits()["id"][0]))
    assert response.status_code == 400
    assert message in response.json()["error"]
