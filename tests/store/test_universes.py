"""Circuits over neurons, a universe that a package adds, with those of computation graphs: on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.analysis import write_report
from circuitstore.circuits import (
    UNIVERSES,
    Circuit,
    CircuitRecord,
    ComputationGraph,
    Discovery,
    universe_of,
)
from circuitstore.errors import InputError, NotComparable, StoreVersion
from circuitstore.query import compare, read_studies, run
from circuitstore.store import Store, create_store, open_store, rebuild_store
from circuitstore.store.graph.content import GraphContent
from circuitstore.testing.factories import make_discovery, make_item, make_record
from circuitstore.testing.picked_neurons import PickedNeurons, picked

PATH = "5 | 17 | 3 | 17"
"""One neuron in each MLP, each of which feeds the next."""
NAMES = ("m0.n5", "m1.n17", "m2.n3", "m3.n17")
SEVERAL = "5 9 | 2 17 | 3 17 | 1 8"
OF_NEURON = "MATCH (:Circuit)-[:HAS]->(n:Node) WHERE n.neuron = 17 RETURN n.name, n.layer ORDER BY n.name"
WALK = (
    "MATCH (:Circuit {id: $id})-[:HAS]->(:Node {neuron: 5})-[:FEEDS*3..3]->(:Node)-[:INSTANCE_OF]->(k:Component) "
    "RETURN k.name, k.kind, k.neuron"
)


def forget() -> None:
    """Look for packages again."""
    for name in ("_kinds", "_foreign"):
        UNIVERSES.__dict__.pop(name, None)
    universe_of.cache_clear()


@contextmanager
def package(folder: Path) -> Iterator[None]:
    """What the installation of a package with neurons leaves."""
    info = folder / "neurons-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: neurons\nVersion: 1.0\n")
    entry = "[circuitstore.universes]\npicked = circuitstore.testing.picked_neurons:PICKED\n"
    (info / "entry_points.txt").write_text(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        forget()
        yield
    forget()


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[None]:
    with package(tmp_path / "site-packages"):
        yield


@pytest.fixture(params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    """An empty graph database of each engine; None: the store's own embedded one."""
    if request.param == "ladybug":
        return None
    server = request.getfixturevalue("neo4j_server")
    server.strip()
    return server.url


def over(chosen: str | None, class_index: int = 0, n: int = 3) -> tuple[Discovery, CircuitRecord]:
    """An answer over neurons, or over the computation graph, and its circuit."""
    use = None if chosen is None else picked(chosen)
    discovery = make_discovery(item=make_item(class_index=class_index, universe=use))
    return discovery, make_record(discovery, n)


def fill(store: Store, made: list[tuple[Discovery, CircuitRecord]]) -> None:
    with store.writer() as writer:
        writer.start_run("run", "", [d.item for d, _ in made], [(r.discovery_id, r.extraction) for _, r in made])
        for discovery, record in made:
            writer.put(discovery, run="run")
            writer.put(record, run="run")


def rows(store: Store, text: str, **params: Any) -> list[list[Any]]:
    return store.query(text, params).to_pandas().astype(object).to_numpy().tolist()


def test_a_path_of_neurons_is_stored_projected_verified_asked_and_rebuilt(
    installed: None, folder: Path, graph_url: str | None
) -> None:
    discovery, record = over(PATH)
    assert record.circuit.nodes == NAMES
    assert record.circuit.edges == ("m0.n5->m1.n17", "m1.n17->m2.n3", "m2.n3->m3.n17")
    with create_store(folder, graph=graph_url) as store:
        fill(store, [(discovery, record)])
    for rebuilt in (False, True):
        if rebuilt:
            rebuild_store(folder, graph=graph_url)
        with open_store(folder, graph=graph_url) as store:
            assert len(store.verify()) == 0, str(store.verify())
            assert_same(store, discovery, record)
            assert rows(store, OF_NEURON) == [["m1.n17", 1], ["m3.n17", 3]]
            assert rows(store, WALK, id=record.id) == [["m3.n17", "neuron", 17]]


def assert_same(store: Store, discovery: Discovery, record: CircuitRecord) -> None:
    """The parts of a store have what was put."""
    assert (store.discovery(discovery.id).sha256, store.circuit(record.id).sha256) == (discovery.sha256, record.sha256)
    back, scores = store.circuit(record.id).circuit, store.discovery(discovery.id).scores
    assert scores is not None and scores.universe == back.universe == record.circuit.universe
    assert back.edges == record.circuit.edges
    (created,) = store.circuits(id=record.id)["created_ms"]
    assert GraphContent.of(record, int(created)).differences(store.graph.content(record.id)) == []


@pytest.fixture
def mixed(installed: None, folder: Path, graph_url: str | None) -> Iterator[tuple[Store, list[CircuitRecord]]]:
    """Circuits of three classes over neurons, and over the computation graph of the same model."""
    made = [over(chosen, i, n=10) for chosen in (SEVERAL, None) for i in range(3)]
    with create_store(folder, graph=graph_url) as store:
        fill(store, made)
        yield store, [record for _, record in made]


def test_universes_stand_side_by_side(mixed: tuple[Store, list[CircuitRecord]]) -> None:
    store, records = mixed
    assert len(store.verify()) == 0, str(store.verify())
    form = picked(SEVERAL).form
    listed = store.circuits()
    assert sorted(listed["form"]) == [form] * 3 + ["split"] * 3
    assert dict(zip(listed["id"], listed["n_graph_edges"], strict=True)) == {
        r.id: r.circuit.universe.n_edges for r in records
    }
    for some in (records[:3], records[3:]):
        assert np.array_equal(store.members([r.id for r in some]), [r.circuit.members for r in some])
    of = rows(store, "MATCH (c:Circuit)-[:HAS]->(n:Node) WHERE n.neuron IS NOT NULL RETURN DISTINCT c.form")
    assert of == [[form]]
    assert sorted(r["form"] for r in run(store, "studies")) == [form, "split"]
    usage = run(store, "component-usage", {"form": form}).to_pandas()
    assert set(usage["kind"]) == {"neuron"}
    assert set(usage["component"]) == {name for r in records[:3] for name in r.circuit.nodes}
    assert [study.universe for study in read_studies(store)].count(records[0].circuit.universe) == 1


def test_a_report_shows_both(mixed: tuple[Store, list[CircuitRecord]], tmp_path: Path) -> None:
    store, _ = mixed
    page = write_report(store, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Circuits over neurons 5 9 | 2 17 | 3 17 | 1 8 are not drawn" in page and page.count("<svg") > 1


def test_universes_are_not_compared_with_each_other(mixed: tuple[Store, list[CircuitRecord]]) -> None:
    store, records = mixed
    with pytest.raises(InputError, match=r"over PickedNeurons\(.*over ComputationGraph\(.*choose those of one"):
        store.members([records[0].id, records[3].id])
    with pytest.raises(InputError, match=r"is over PickedNeurons\(.*over ComputationGraph\("):
        store.scores([records[0].discovery_id, records[3].discovery_id])
    with pytest.raises(NotComparable, match=r"circuits over neurons 5 9 \| 2 17.* have no edges in common with others"):
        compare(store, "form", measure="jaccard")


def test_circuits_over_neurons_are_compared_among_themselves(mixed: tuple[Store, list[CircuitRecord]]) -> None:
    store, records = mixed
    found = compare(store, "class", measure="jaccard", form=picked(SEVERAL).form).to_pandas()
    expected = {}
    for i, a in enumerate(records[:3]):
        for j, b in enumerate(records[:i]):
            common, either = ({*a.circuit.edges} & {*b.circuit.edges}), ({*a.circuit.edges} | {*b.circuit.edges})
            expected[f"class-{j}", f"class-{i}"] = len(common) / len(either)
    assert dict(zip(zip(found["a"], found["b"], strict=True), found["jaccard"], strict=True)) == pytest.approx(expected)


def test_what_is_over_another_universe_than_its_question_is_not_stored(installed: None, folder: Path) -> None:
    discovery, record = over(PATH)
    _, other = over("5 | 17 | 3 | 18")
    with create_store(folder) as store, store.writer() as writer:
        for value in (
            Discovery(discovery.item, over(None)[0].scores, discovery.images),
            CircuitRecord(record.item, record.extraction, other.circuit, 8, None),
        ):
            with pytest.raises(InputError, match=r"expected edges of PickedNeurons\(.*, the universe of its q"):
                writer.put(value, run="run")
        assert [*store.archive.ids("discovery"), *store.archive.ids("circuit")] == []


def test_without_the_package_its_circuits_are_refused_and_the_rest_is_read(tmp_path: Path, folder: Path) -> None:
    made = [over(None)]
    with create_store(folder) as store:
        with package(tmp_path / "site-packages"):
            made.append(over(PATH))
            fill(store, made)
        (_, plain), (discovery, record) = made
        assert store.circuit(plain.id).sha256 == plain.sha256
        reads = (
            lambda: store.circuit(record.id),
            lambda: store.members([record.id]),
            lambda: store.discovery(discovery.id),
        )
        for read in reads:
            with pytest.raises(StoreVersion, match=r"picked\(chosen=.*unknown universe 'picked'.*install the package"):
                read()
        assert rows(store, OF_NEURON) == [["m1.n17", 1], ["m3.n17", 3]]
        assert len(store.circuits()) == 2
    assert store.archive.looks_whole("circuit", record.id)


def test_a_universe_says_what_it_cannot_do(installed: None) -> None:
    _, record = over(PATH)
    assert universe_of(record.item.model, record.item.recipe.over) == PickedNeurons(((5,), (17,), (3,), (17,)))
    with pytest.raises(InputError, match=r"expected edges of a computation graph, got those of neurons 5 \| 17"):
        record.draw()
    assert record._repr_svg_() is None and "m0.n5" in record._repr_html_()
    with pytest.raises(InputError, match=r"unknown edge of the neurons .*did you mean 'm0\.n5->m1\.n17'"):
        Circuit.from_edges(record.circuit.universe, ["m0.n5->m1.n7"])
    with pytest.raises(InputError, match="expected neurons of 4 MLPs, got those of 2"):
        universe_of(record.item.model, picked("1 | 2"))
    assert record.to_networkx().nodes["m1.n17"] == {"kind": "neuron", "layer": 1, "neuron": 17}


def test_the_computation_graphs_are_universes_by_their_forms() -> None:
    item = make_item(form="attention")
    assert universe_of(item.model, item.recipe.over) == ComputationGraph(4, 4, "attention")
