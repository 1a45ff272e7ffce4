"""A store with circuits of several studies, and the records in it.

It includes old and flagged circuits, and two models with the same name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.circuits import Circuit, CircuitRecord, ClassInfo, Contrast, Discovery, WorkItem, digest
from circuitstore.query import store_similar
from circuitstore.store import CIRCUIT, DISCOVERY, Store, create_store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from ..toy_studies import store_of, toy_store, toys  # noqa: F401

ATTACK = "typographic(text=other class)"
EFFECT = {"dataset": "toys", "form": "split", "metric": "logit", "corruption": "other-class"}
"""The circuits of the effect study of ten classes."""

STUDIES: list[dict[str, Any]] = [
    {"attack": "natural"},
    {"attack": "typographic"},
    {"attack": "natural", "corruption": "mean-image"},
    {"attack": "typographic", "metric": "logit-diff", "corruption": "unattacked-twin"},
    {"attack": "natural", "form": "attention"},
    {"attack": "typographic", "form": "attention"},
]
"""Each with ten classes, at one or two sizes."""

SIZES = {"other-class": (24, 40), "mean-image": (24, 40), "unattacked-twin": (24,)}
SHAPE = {"n_layers": 3, "n_heads": 2}
MODELS = {name: digest(["model", name]) for name in ("base", "tuned")}
"""Ids of two models with the name vit."""

CIRCUITS = 267
"""Number of circuits in the library."""

Results = list[tuple[Discovery, list[CircuitRecord]]]


@dataclass(frozen=True)
class Library:
    """A filled store and its contents, the oldest first."""

    store: Store
    discoveries: list[Discovery]
    records: list[CircuitRecord]

    @property
    def newest(self) -> list[CircuitRecord]:
        """The last answer to each question."""
        last = {record.question: record.id for record in self.records}
        return [r for r in self.records if last[r.question] == r.id]

    def chosen(self, **equals: Any) -> list[CircuitRecord]:
        """Return the records that count and have these properties; a list allows several values."""
        return [r for r in self.newest if not r.flag and fits(r, equals)]


def fits(record: CircuitRecord, equals: dict[str, Any]) -> bool:
    properties = record.properties()
    return all(properties[k] in v if isinstance(v, list) else properties[k] == v for k, v in equals.items())


def _older() -> Results:
    """Return answers, on other images, to questions that are answered again later."""
    items = [make_item(9, class_index=i, attack=a, **SHAPE) for i in range(10) for a in ("natural", "typographic")]
    discoveries = [make_discovery(9, item=_written(item)) for item in items]
    return [(d, [make_record(d, n) for n in SIZES["other-class"]]) for d in discoveries]


def _newer() -> Iterator[tuple[Discovery, list[CircuitRecord]]]:
    for what in STUDIES:
        form = what.get("form", "split")
        sizes = (12,) if form == "attention" else SIZES[what.get("corruption", "other-class")]
        for index in range(10):
            item = _written(make_item(class_index=index, **SHAPE, **what))
            discovery = make_discovery(item=item)
            yield discovery, [make_record(discovery, n) for n in sizes]
    for seed in range(3):  # several circuits of a class in one study, in a separate data set
        for index in range(10):
            for attack in ("natural", "typographic"):
                item = make_item(seed, class_index=index, attack=attack, **SHAPE)
                item = _of("many", replace(item, recipe=replace(item.recipe, seed=seed)))
                discovery = make_discovery(seed, item=item)
                yield discovery, [make_record(discovery, n) for n in (24, 40)]
    for seed, id in enumerate(MODELS.values()):
        for index in range(3):
            for attack in ("natural", "typographic"):
                item = _of("models", make_item(class_index=index, attack=attack, **SHAPE))
                item = replace(item, model=replace(item.model, id=id, name="vit"))
                discovery = make_discovery(seed, item=item)
                yield discovery, [make_record(discovery, 24)]
    for index in range(5):  # two of these count
        discovery = make_discovery(
            index, n_images=5 if index == 2 else 8, item=_of("weak", make_item(class_index=index, **SHAPE))
        )
        record = make_record(discovery, 24)
        sizes = {3: discovery.scores.graph.n_edges, 4: 0} if discovery.scores else {}
        yield discovery, [_sized(record, sizes[index]) if index in sizes else record]


def _of(dataset: str, item: WorkItem) -> WorkItem:
    target = item.target_class
    return replace(item, target_class=ClassInfo(dataset, target.name, target.class_index))


def _sized(record: CircuitRecord, n: int) -> CircuitRecord:
    """Return the circuit with all edges, or with none."""
    graph = record.circuit.graph
    members = np.full(graph.n_edges, n > 0)
    circuit = Circuit.pruned(graph, np.flatnonzero(members), size_requested=24)
    return replace(record, circuit=replace(circuit, score=record.circuit.score, std=record.circuit.std))


def _written(item: WorkItem) -> WorkItem:
    """Return the item as it is indexed: the word of the attack is a surrounding, and other classes are the contrast."""
    name, others = item.target_class.name, tuple(f"class-{i}" for i in range(10))
    attacked, paired = item.condition.kind == "typographic", item.recipe.corruption.kind == "other-class"
    word = others[(item.target_class.class_index + 1) % 10] if attacked else None
    contrast = Contrast(word, word, tuple(other for other in others if other != name) if paired else ())
    return replace(item, selection=replace(item.selection, surroundings=word or ""), contrast=contrast)


def fill(store: Store, results: Results, run: str = "run") -> Library:
    discoveries = [d for d, _ in results]
    records = [r for _, of in results for r in of]
    with store.writer() as writer:
        wanted = [(r.discovery_id, r.extraction) for r in records]
        writer.start_run(run, f'name = "{run}"', [d.item for d in discoveries], wanted)
        for discovery, of in results:
            if not writer.has(DISCOVERY, discovery.id):
                writer.lease_item(discovery.id)
                writer.put(discovery, run=run)
            for record in of:
                if not writer.has(CIRCUIT, record.id):
                    writer.put(record, run=run)
    return Library(store, discoveries, records)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The library with the embedded graph, once for all files of tests."""
    with create_store(tmp_path_factory.mktemp("library") / "data") as store:
        older = _older()
        fill(store, older, "first")
        found = fill(store, [*older, *_newer()])
        store_similar(store, 3, dataset="models")
        yield found


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory, built: Library) -> Path:
    """A copy of its folder without the graph."""
    folder = tmp_path_factory.mktemp("copied") / "data"
    return shutil.copytree(built.store.location.folder, folder, ignore=shutil.ignore_patterns("graph.lbdb*"))


@pytest.fixture(scope="module", params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    """The URL of a graph database of each engine; None for the embedded database of the store."""
    return None if request.param == "ladybug" else request.getfixturevalue("neo4j_server").url


@pytest.fixture(scope="module")
def library(request: pytest.FixtureRequest, built: Library, graph_url: str | None) -> Iterator[Library]:
    """The library on each engine; a server is filled from the archive if other tests have emptied it."""
    if graph_url is None:
        yield built
        return
    server = request.getfixturevalue("neo4j_server")
    with open_store(request.getfixturevalue("copied"), graph=graph_url) as store:
        if server.ask("MATCH (s:Store) RETURN s.id") != [[store.id]]:
            server.empty()
            store_similar(store, 3, dataset="models")
        yield Library(store, built.discoveries, built.records)
