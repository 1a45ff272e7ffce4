"""Neuron paths in a store with circuits of edges of the same model, on both engines: graph, verify, rebuild, query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import CircuitRecord, Discovery, Neurons, asks_for_paths
from circuitstore.errors import InputError, NotComparable
from circuitstore.query import compare, read_studies, run
from circuitstore.store import Store, create_store, open_store, rebuild_store
from circuitstore.store.graph.content import GraphContent
from circuitstore.testing.factories import make_discovery, make_item, make_paths, make_record, path_item

CLASSES, WIDTH = 4, 3
Made = list[tuple[Discovery, CircuitRecord]]


@pytest.fixture(scope="module", params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    """An empty graph database of each engine; None: the store's own embedded one."""
    if request.param == "ladybug":
        return None
    server = request.getfixturevalue("neo4j_server")
    server.strip()
    return server.url


@pytest.fixture(scope="module")
def made() -> Made:
    """Paths of four classes, natural and attacked, and a circuit of edges of each class."""
    items = [make_item(class_index=i, attack=a) for i in range(CLASSES) for a in ("natural", "typographic")]
    edges = [make_discovery(item=item) for item in items[::2]]
    return [*(make_paths(path_item(item, WIDTH)) for item in items), *((d, make_record(d, 30)) for d in edges)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, graph_url: str | None, made: Made) -> Path:
    folder = tmp_path_factory.mktemp("paths") / "data"
    with create_store(folder, graph=graph_url) as store, store.writer() as writer:
        writer.start_run("run", "", [d.item for d, _ in made], [(r.discovery_id, r.extraction) for _, r in made])
        for discovery, record in made:
            writer.put(discovery, run="run")
            writer.put(record, run="run")
    return folder


@pytest.fixture
def store(folder: Path, graph_url: str | None) -> Iterator[Store]:
    with open_store(folder, graph=graph_url) as opened:
        yield opened


def paths_of(made: Made, condition: str = "natural") -> Made:
    return [(d, r) for d, r in made if asks_for_paths(d.item) and d.item.condition.kind == condition]


def shares(record: CircuitRecord) -> dict[str, float]:
    """The share of each neuron of a path."""
    circuit = record.circuit
    assert circuit.score is not None
    return {edge.partition("->")[0]: float(circuit.score[circuit.universe.edge_index[edge]]) for edge in circuit.edges}


def test_paths_come_back_and_the_graph_has_them(store: Store, made: Made) -> None:
    assert len(store.verify()) == 0, str(store.verify())
    for discovery, record in made:
        there = store.discovery(discovery.id)
        assert (there.sha256, there.trace) == (discovery.sha256, discovery.trace)
        back = store.circuit(record.id)
        assert back.sha256 == record.sha256 and back.circuit.edges == record.circuit.edges
        (created,) = store.circuits(id=record.id)["created_ms"]
        assert GraphContent.of(record, int(created)).differences(store.graph.content(record.id)) == []
    (form,) = set(store.circuits(method="neuron-path(k=1)")["form"])
    assert form.startswith("neurons-") and set(store.circuits(form=form)["n_graph_edges"]) == {4 * WIDTH}


def test_a_neuron_of_two_classes_is_one_component_and_only_neurons_on_paths_are_components(
    store: Store, made: Made
) -> None:
    used = {name for _, r in made if asks_for_paths(r.item) for name in shares(r)}
    table = store.query("MATCH (k:Component) WHERE k.kind = 'neuron' RETURN k.name AS name ORDER BY name")
    assert [row["name"] for row in table] == sorted(used)
    text = "MATCH (c:Circuit)-[:HAS]->(:Node)-[:INSTANCE_OF]->(k:Component {name: $name}) RETURN count(*) AS n"
    for name in used:
        expected = sum(name in r.circuit.nodes for _, r in made)
        assert [row["n"] for row in store.query(text, {"name": name})] == [expected]


def test_a_path_is_walked_from_its_first_mlp_to_logits(store: Store, made: Made) -> None:
    _, record = paths_of(made)[0]
    text = (
        "MATCH (:Circuit {id: $id})-[:HAS]->(:Node {name: 'm0'})-[:FEEDS|CONTAINS*1..8]->(o:Node {name: 'logits'}) "
        "RETURN count(*) AS paths"
    )
    assert [row["paths"] for row in store.query(text, {"id": record.id})] == [1]


def test_neurons_of_class_lists_them_with_their_shares(store: Store, made: Made) -> None:
    rows = list(run(store, "neurons-of-class", {"class": "class-1"}))
    expected = {(r.id, name): share for d, r in made for name, share in shares(r).items() if asks_for_paths(d.item)}
    mine = {key: value for key, value in expected.items() if key[0] in {row["circuit"] for row in rows}}
    assert {(row["circuit"], row["neuron"]): row["share"] for row in rows} == pytest.approx(mine)
    assert Counter(row["condition"] for row in rows) == {"natural": 4, "typographic(text=other class)": 4}
    assert [row["layer"] for row in rows] == [0, 1, 2, 3] * 2


def test_neurons_shared_counts_classes(store: Store, made: Made) -> None:
    rows = list(run(store, "neurons-shared", {"limit": 1000}))
    found: dict[str, list[tuple[str, float]]] = {}
    for d, r in paths_of(made):
        for name, share in shares(r).items():
            found.setdefault(name, []).append((d.item.target_class.name, share))
    assert {row["neuron"]: row["classes"] for row in rows} == {name: len(of) for name, of in found.items()}
    for row in rows:
        assert row["share"] == pytest.approx(np.mean([share for _, share in found[row["neuron"]]]))
    assert list(run(store, "neurons-shared", {"limit": 2})) == rows[:2] and rows[0]["classes"] > 1


def test_neuron_in_edge_circuits_lists_circuits_through_its_mlp(store: Store, made: Made) -> None:
    (discovery, record), *_ = paths_of(made)
    neuron = next(name for name in shares(record) if name.startswith("m2."))
    rows = list(run(store, "neuron-in-edge-circuits", {"neuron": neuron}))
    expected: dict[str, list[str]] = {}
    for d, r in made:
        if not asks_for_paths(d.item):
            expected[r.id] = [edge for edge in r.circuit.edges if edge.startswith("m2->")]
    assert {row["circuit"]: row["edges"] for row in rows} == {id: len(of) for id, of in expected.items() if of}
    assert rows and {row["mlp"] for row in rows} == {"m2"} and {row["form"] for row in rows} == {"split"}
    on_path = {d.item.target_class.name for d, r in paths_of(made) if neuron in shares(r)}
    assert {row["class"] for row in rows if row["on_path"]} == on_path & {row["class"] for row in rows}
    assert discovery.item.target_class.name in on_path


def test_a_neuron_on_no_path_has_a_note_with_the_number_of_paths(store: Store, made: Made) -> None:
    total = sum(d.item.condition.kind == "natural" for d, _ in paths_of(made))
    table = run(store, "neuron-in-edge-circuits", {"neuron": "m2.n9999"})
    assert len(table) == 0 and f"no rows: 0 of {total} neuron paths under this condition" in table.notes[-1]


def test_neuron_paths_gives_the_path_of_each_image(store: Store, made: Made) -> None:
    discovery, record = paths_of(made)[1]
    frame = run(store, "neuron-paths", {"circuit": record.id[:12]}).to_pandas()
    assert list(dict.fromkeys(frame["image"])) == list(discovery.images)
    sums = frame.pivot_table(index="image", values=["part", "ig"], aggfunc={"part": "sum", "ig": "mean"})
    assert sums["part"].to_numpy() == pytest.approx(sums["ig"].to_numpy())
    per_neuron = frame.groupby("neuron")["image"].nunique() / len(discovery.images)
    assert {name: per_neuron[name] for name in shares(record)} == pytest.approx(shares(record))
    assert set(frame.loc[frame["on_class_path"], "neuron"]) == set(shares(record))
    _, circuit = made[-1]
    with pytest.raises(InputError, match="expected the neuron path of a class, got a circuit of form split"):
        run(store, "neuron-paths", {"circuit": circuit.id})


def test_a_path_is_compared_with_a_circuit_by_component(store: Store, made: Made) -> None:
    (_, path), (_, circuit) = paths_of(made)[1], next(pair for pair in made if not asks_for_paths(pair[0].item))
    table = run(store, "path-and-circuit", {"path": path.id, "circuit": circuit.id})
    edges, share = circuit.circuit.to_pandas(), shares(path)
    for row in table:
        of_path = [neuron for neuron in share if neuron.startswith(f"{row['mlp']}.")]
        assert row["neurons"] == ", ".join(of_path) != ""
        assert row["path_share"] == pytest.approx(np.mean([share[neuron] for neuron in of_path]))
        out, into = edges.loc[edges["sender"] == row["mlp"]], edges.loc[edges["receiver"] == row["mlp"]]
        assert (row["edges_in"], row["edges_out"]) == (len(into), len(out))
        assert row["in_circuit"] == (len(out) + len(into) > 0)
        assert row["edge_share"] == pytest.approx((len(out) + len(into)) / (2 * len(edges)))
        assert row["score_out"] == pytest.approx(out["score"].sum())
    assert [row["mlp"] for row in table] == ["m0", "m1", "m2", "m3"]
    assert table.notes == ("the class differs: class-1 against class-0",)
    for path_id, circuit_id, message in (
        (circuit.id, circuit.id, "expected the neuron path of a class"),
        (path.id, path.id, "expected a circuit of edges, got a neuron path"),
    ):
        with pytest.raises(InputError, match=message):
            run(store, "path-and-circuit", {"path": path_id, "circuit": circuit_id})


def test_paths_are_compared_with_each_other_and_not_with_edges(store: Store, made: Made) -> None:
    (form,) = set(store.circuits(method="neuron-path(k=1)")["form"])
    table = compare(store, "class", measure="jaccard", form=form, condition="natural").to_pandas()
    names = {d.item.target_class.name: set(shares(r)) for d, r in paths_of(made)}
    for row in table.to_dict("records"):
        a, b = names[row["a"]], names[row["b"]]
        assert row["jaccard"] == pytest.approx(len(a & b) / len(a | b))
    assert len(table) == CLASSES * (CLASSES - 1) / 2
    with pytest.raises(InputError, match=r"is over Neurons\(.*over ComputationGraph\("):
        store.members([made[0][1].id, made[-1][1].id])
    with pytest.raises((NotComparable, InputError), match=r"nothing to compare|no edges in common"):
        compare(store, "form", measure="jaccard")


def test_paths_are_a_study_of_their_own(store: Store) -> None:
    studies = {study.common["method"]: study for study in read_studies(store)}
    study = studies["neuron-path(k=1)"]
    assert study.universe == Neurons(4, WIDTH) and study.members.shape == (2 * CLASSES, 4 * WIDTH)
    assert (study.members.sum(axis=1) == 4).all() and study.kind == "other"


def test_a_rebuilt_store_is_the_same(folder: Path, graph_url: str | None) -> None:
    with open_store(folder, graph=graph_url) as store:
        before = store.circuits().drop(columns="created_ms")
    rebuild_store(folder, graph=graph_url)
    with open_store(folder, graph=graph_url) as store:
        assert store.circuits().drop(columns="created_ms").equals(before) and len(store.verify()) == 0
