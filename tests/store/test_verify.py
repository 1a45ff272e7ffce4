"""Every planted difference is found and named, and `rebuild` repairs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import ladybug
import pytest
import sqlalchemy as sa
from circuitstore.circuits import CircuitRecord
from circuitstore.store import Store, open_store, rebuild_store, tables
from circuitstore.store.catalog import Catalog
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.ladybug.file import lock_of


def circuit_file(store: Store, world: Any) -> Path:
    return store.archive.path("circuit", world.records[0].id)


def discovery_file(store: Store, world: Any) -> Path:
    return store.archive.path("discovery", world.discoveries[0].id)


def response_file(store: Store, world: Any) -> Path:
    return store.archive.path("response", world.responses[0].id)


def catalog(store: Store, statement: sa.Executable) -> None:
    with Catalog(store.location.catalog, read_only=False).writing() as connection:
        connection.execute(statement)


def stranger_in_graph(store: Store, world: Any) -> None:
    record = replace(world.records[0], extraction=replace(world.records[0].extraction, version=9))
    with open_graph(store.location.graph, store_id=store.id) as graph:
        graph.put([record], {record.id: 17})


def unfinished_file(store: Store, world: Any) -> None:
    path = circuit_file(store, world)
    path.with_name(path.name + ".tmp").write_bytes(b"half")


def unlisted_request(store: Store, world: Any) -> None:
    (id,) = store.archive.ids("run")
    request = store.archive.request(id)
    store.archive.write_request(replace(request, created_ms=request.created_ms + 1), store.id)


def flipped_byte(store: Store, world: Any) -> None:
    """In the middle of the values."""
    data = bytearray(circuit_file(store, world).read_bytes())
    data[data.index(b"PAR1", 0) + 60] ^= 1
    circuit_file(store, world).write_bytes(data)


PLANTED: dict[str, tuple[Callable[[Store, Any], object], str, str, str]] = {
    # what is done: (how, part, kind of difference, words in its description)
    "circuit file lost": (lambda s, w: circuit_file(s, w).unlink(), "archive", "missing file", "does not exist"),
    "circuit file cut": (lambda s, w: circuit_file(s, w).write_bytes(b"PAR1"), "archive", "damaged file", "be read"),
    "circuit file empty": (lambda s, w: circuit_file(s, w).write_bytes(b""), "archive", "damaged file", "be read"),
    "circuit file of a flipped byte": (flipped_byte, "archive", "damaged file", "circuit file"),
    "circuit file with another's content": (
        lambda s, w: circuit_file(s, w).write_bytes(s.archive.path("circuit", w.records[1].id).read_bytes()),
        "archive",
        "damaged file",
        "it contains the circuit",
    ),
    "discovery file lost": (lambda s, w: discovery_file(s, w).unlink(), "archive", "missing file", "does not exist"),
    "discovery file cut": (lambda s, w: discovery_file(s, w).write_bytes(b""), "archive", "damaged file", "be read"),
    "request unlisted": (unlisted_request, "archive", "orphan file", "does not list this request"),
    "circuit forgotten": (
        lambda s, w: catalog(s, sa.delete(tables.circuits).where(tables.circuits.c.id == w.records[0].id)),
        "archive",
        "orphan file",
        "does not list",
    ),
    "discovery forgotten": (
        lambda s, w: catalog(s, sa.delete(tables.discoveries).where(tables.discoveries.c.id == w.discoveries[0].id)),
        "catalog",
        "wrong state",
        "its answer is not listed",
    ),
    "figure altered": (
        lambda s, w: catalog(s, sa.update(tables.circuits).values(faithfulness=2.0)),
        "catalog",
        "altered row",
        "faithfulness is 2.0",
    ),
    "checksum altered": (
        lambda s, w: catalog(s, sa.update(tables.discoveries).values(sha256="0" * 64)),
        "catalog",
        "altered row",
        "sha256 is '0000",
    ),
    "response file lost": (lambda s, w: response_file(s, w).unlink(), "archive", "missing file", "does not exist"),
    "response file cut": (lambda s, w: response_file(s, w).write_bytes(b"PAR1"), "archive", "damaged file", "be read"),
    "response forgotten": (
        lambda s, w: catalog(s, sa.delete(tables.responses).where(tables.responses.c.id == w.responses[0].id)),
        "archive",
        "orphan file",
        "does not list",
    ),
    "accuracy altered": (
        lambda s, w: catalog(s, sa.update(tables.responses).values(accuracy=2.0)),
        "catalog",
        "altered row",
        "accuracy is 2.0",
    ),
    "graph lost": (lambda s, w: (s.location.folder / "graph.lbdb").unlink(), "graph", "missing graph", "graph.lbdb"),
    "stranger in graph": (stranger_in_graph, "graph", "extra circuit", "does not list it"),
}


def test_a_sound_store_has_no_differences(filled: Path) -> None:
    with open_store(filled) as store:
        assert list(store.verify().to_pandas().columns) == ["part", "kind", "id", "what", "remedy"]
        assert len(store.verify()) == 0


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_named_and_repaired(filled: Path, world: Any, planted: str) -> None:
    plant, part, kind, words = PLANTED[planted]
    with open_store(filled) as store:
        plant(store, world)
    with open_store(filled) as store:
        found = store.verify()
        assert any((r["part"], r["kind"]) == (part, kind) and words in r["what"] for r in found), str(found)
        known = {v.id for v in (*world.discoveries, *world.records, *world.responses)} | set(store.archive.ids("run"))
        strangers = planted == "stranger in graph"
        assert strangers or all(r["id"] in known or r["kind"] == "missing graph" for r in found)
        assert all("circuitstore" in r["remedy"] for r in found)
    rebuild_store(filled)
    with open_store(filled) as store:
        with store.writer() as writer:
            world.fill(writer)
        assert len(store.verify()) == 0, str(store.verify())
        assert set(store.circuits("run")["id"]) == {r.id for r in world.records}


def test_what_a_killed_writer_left_is_named(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        unfinished_file(store, world)
        [found] = store.verify()
        assert found["kind"] == "unfinished file"
        with store.writer():
            pass
        assert len(store.verify()) == 0


def test_verifying_while_a_writer_is_open_is_noted(filled: Path) -> None:
    with open_store(filled) as store, store.writer():
        assert "is writing to the store" in store.verify().notes[0]


# --- in the graph, past our code, on both engines --------------------------------------------------------

EDGE = "MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node)-[f:FEEDS {edge: $edge}]->(m:Node)"
NODE = "MATCH (c:Circuit {id: $id})-[h:HAS]->(n:Node {name: 'logits'})"
VALUES = "port: f.port, score: f.score, std: f.std, rank: f.rank, frequency: f.frequency"

IN_GRAPH: dict[str, tuple[str, str, str]] = {
    # what is altered: (statement, kind of difference, words in its description)
    "edge missing": (f"{EDGE} DELETE f", "altered circuit", "edge {edge} is missing"),
    "edge extra": (
        f"{EDGE} CREATE (n)-[:FEEDS {{edge: 'made->up', {VALUES}}}]->(m)",
        "altered circuit",
        "edge made->up is not in the archive",
    ),
    "edge twice": (
        f"{EDGE} CREATE (n)-[:FEEDS {{edge: f.edge, {VALUES}}}]->(m)",
        "altered circuit",
        "1 edges occur more than once",
    ),
    "edge elsewhere": (
        f"{EDGE} MATCH (c)-[:HAS]->(o:Node) WHERE o.name <> m.name AND o.name <> n.name WITH n, f, o ORDER BY o.name "
        f"LIMIT 1 CREATE (n)-[:FEEDS {{edge: f.edge, {VALUES}}}]->(o) DELETE f",
        "altered circuit",
        "edge {edge}: receiver is",
    ),
    "edge renamed": (f"{EDGE} SET f.edge = 'other'", "altered circuit", "edge {edge} is missing"),
    "port": (f"{EDGE} SET f.port = 'z'", "altered circuit", "edge {edge}: port is 'z'"),
    "score": (f"{EDGE} SET f.score = 7.5", "altered circuit", "edge {edge}: score is 7.5"),
    "score lost": (f"{EDGE} SET f.score = NULL", "altered circuit", "edge {edge}: score is None"),
    "std": (f"{EDGE} SET f.std = 7.5", "altered circuit", "edge {edge}: std is 7.5"),
    "rank": (f"{EDGE} SET f.rank = 99", "altered circuit", "edge {edge}: rank is 99"),
    "frequency": (f"{EDGE} SET f.frequency = 0.125", "altered circuit", "edge {edge}: frequency is 0.125"),
    "node missing": (f"{NODE} DETACH DELETE n", "altered circuit", "node logits is missing"),
    "inflow": (f"{NODE} SET n.full_in = 7.5", "altered circuit", "node logits: full_in is 7.5"),
    "component of a node": (
        f"{NODE} MATCH (n)-[i:INSTANCE_OF]->() DELETE i",
        "altered circuit",
        "node logits: component is",
    ),
    "node taken away": (f"{NODE} DELETE h", "orphan nodes", "1 nodes that no circuit has: logits"),
    "node of nobody": (
        "CREATE (:Node {key: $id + '/none', name: 'none'})",
        "orphan nodes",
        "that no circuit has: none",
    ),
    "circuit missing": ("MATCH (c:Circuit {id: $id}) DETACH DELETE c", "missing circuit", "the graph lacks it"),
    "property": ("MATCH (c:Circuit {id: $id}) SET c.n_images = 99", "altered circuit", "n_images is 99, expected 5"),
    "checksum": ("MATCH (c:Circuit {id: $id}) SET c.sha256 = 'other'", "altered circuit", "sha256 is 'other'"),
    "figure": ("MATCH (c:Circuit {id: $id}) SET c.faithfulness = 2.0", "altered circuit", "faithfulness is 2.0"),
    "class of a circuit": (
        "MATCH (c:Circuit {id: $id})-[o:OF_CLASS]->() DELETE o",
        "altered circuit",
        "class is ''",
    ),
    "class": ("MATCH (k:Class) SET k.name = 'other'", "altered Class", "name of the Class is 'other'"),
    "class index": ("MATCH (k:Class) SET k.class_index = 77", "altered Class", "class_index of the Class is 77"),
    "dataset of a class": (
        "MATCH (:Class)-[o:OF_DATASET]->() DELETE o",
        "altered Class",
        "dataset of the Class is None",
    ),
    "condition": ("MATCH (u:Condition) SET u.name = 'other'", "altered Condition", "name of the Condition is 'other'"),
    "recipe": ("MATCH (r:Recipe) SET r.dtype = 'other'", "altered Recipe", "dtype of the Recipe is 'other'"),
    "model": ("MATCH (m:Model) SET m.d_model = 1", "altered Model", "d_model of the Model is 1"),
    "component": ("MATCH (k:Component) SET k.layer = 77", "altered Component", "layer of the Component is 77"),
    "model of a component": (
        "MATCH (:Component)-[p:PART_OF]->() DELETE p",
        "altered Component",
        "model of the Component is None",
    ),
}


@pytest.fixture(params=["ladybug", "neo4j"])
def tampered(request: pytest.FixtureRequest, filled: Path) -> tuple[str | None, Callable[..., object]]:
    """URL of the graph of a filled store, and how to run a statement on it past our code."""
    if request.param == "neo4j":
        server = request.getfixturevalue("neo4j_server")
        server.empty()
        rebuild_store(filled, graph=server.url)
        return server.url, server.ask

    def alter(text: str, **params: object) -> None:
        used = {name: value for name, value in params.items() if f"${name}" in text}
        database = ladybug.Database(filled / "graph.lbdb", max_db_size=1 << 32)
        with database, ladybug.Connection(database) as connection:
            connection.execute(text, used)
        lock_of(filled / "graph.lbdb").unlink(missing_ok=True)

    return None, alter


def rounds(records: list[CircuitRecord]) -> Iterator[dict[str, CircuitRecord]]:
    """Yield the alterations of each round, each with the circuit that it is done to.

    Alterations of one circuit each have their own circuit, and those of what circuits share are of different kinds.
    """
    kinds: dict[str, list[str]] = {}
    for planted, (_, kind, _) in IN_GRAPH.items():
        kinds.setdefault(kind, []).append(planted)
    own = kinds.pop("altered circuit")
    for first in range(0, len(own), len(records)):
        yield dict(zip(own[first : first + len(records)], records, strict=False))
    for planted in (*kinds.pop("orphan nodes"), *kinds.pop("missing circuit")):
        yield {planted: records[0]}
    for several in zip_longest(*kinds.values()):
        yield dict.fromkeys(filter(None, several), records[0])


def test_what_is_altered_in_the_graph_is_named_and_repaired(
    filled: Path, world: Any, tampered: tuple[str | None, Callable[..., object]]
) -> None:
    """One round of alterations after the other, each repaired by what the next writer does or by `rebuild`."""
    graph, alter = tampered
    for altered in rounds(world.records):
        for planted, record in altered.items():
            alter(IN_GRAPH[planted][0], id=record.id, edge=record.circuit.edges[0])
        with open_store(filled, graph=graph) as store:
            found = list(store.verify())
        for planted, record in altered.items():
            _, kind, words = IN_GRAPH[planted]
            of_it = [r for r in found if r["kind"] == kind and (kind != "altered circuit" or r["id"] == record.id)]
            assert any(words.format(edge=record.circuit.edges[0]) in r["what"] for r in of_it), f"{planted}: {found}"
        of_circuits = {IN_GRAPH[planted][1] for planted in altered} == {"altered circuit"}
        assert not of_circuits or {r["id"] for r in found} == {record.id for record in altered.values()}
        assert all(r["part"] == "graph" and r["id"] and "circuitstore" in r["remedy"] for r in found), altered.keys()
        rebuild_store(filled, graph=graph)
    with open_store(filled, graph=graph) as store:
        assert len(store.verify()) == 0, str(store.verify())
