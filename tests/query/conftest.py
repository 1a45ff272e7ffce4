"""A store with 210 circuits of several studies, and the records that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from circuitstore.circuits import CircuitRecord, ClassInfo, Discovery, WorkItem
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

STUDIES: list[dict[str, Any]] = [
    {"attack": "natural"},
    {"attack": "typographic"},
    {"attack": "natural", "corruption": "mean-image"},
    {"attack": "typographic", "metric": "logit-diff", "corruption": "unattacked-twin"},
    {"attack": "natural", "form": "attention"},
    {"attack": "typographic", "form": "attention"},
]
"""Each of ten classes, at one size or two."""

SIZES = {"other-class": (24, 40), "mean-image": (24, 40), "unattacked-twin": (24,)}


@dataclass(frozen=True)
class Library:
    """A filled store, and what was put in."""

    store: Store
    discoveries: list[Discovery]
    records: list[CircuitRecord]

    def chosen(self, **equals: Any) -> list[CircuitRecord]:
        """Records with these properties; a list: one of its values."""

        def fits(properties: dict[str, Any]) -> bool:
            return all(properties[k] in v if isinstance(v, list) else properties[k] == v for k, v in equals.items())

        return [r for r in self.records if fits(r.properties())]


def _made() -> Iterator[tuple[Discovery, list[CircuitRecord]]]:
    for what in STUDIES:
        form = what.get("form", "split")
        sizes = (12,) if form == "attention" else SIZES[what.get("corruption", "other-class")]
        for index in range(10):
            item = _written(make_item(class_index=index, n_layers=3, n_heads=2, **what))
            discovery = make_discovery(item=item, n_images=6)
            yield discovery, [make_record(discovery, n) for n in sizes]
    for seed in range(3):  # several image sets of one study, in a data set of their own
        for index in range(10):
            for attack in ("natural", "typographic"):
                item = make_item(seed, class_index=index, attack=attack, n_layers=3, n_heads=2)
                item = replace(item, target_class=ClassInfo("many", f"class-{index}", index))
                discovery = make_discovery(seed, item=item, n_images=6)
                yield discovery, [make_record(discovery, n) for n in (24, 40)]


def _written(item: WorkItem) -> WorkItem:
    """An attack's word is among the surroundings of its images, as when they are indexed."""
    word = item.target_class.name if item.condition.kind == "typographic" else ""
    return replace(item, selection=replace(item.selection, surroundings=word))


def fill(store: Store, made: list[tuple[Discovery, list[CircuitRecord]]]) -> Library:
    discoveries = [d for d, _ in made]
    records = [r for _, of in made for r in of]
    with store.writer() as writer:
        wanted = [(r.discovery_id, r.extraction) for r in records]
        writer.start_run("run", 'name = "run"', [d.item for d in discoveries], wanted)
        for discovery, of in made:
            writer.lease_item(discovery.id)
            writer.put_discovery(discovery, "run")
            for record in of:
                writer.put_circuit(record, "run")
    return Library(store, discoveries, records)


@pytest.fixture(scope="session", params=["ladybug", "neo4j"])
def graph_url(request: pytest.FixtureRequest) -> str | None:
    """An empty graph database of each engine; None: the store's own embedded one."""
    if request.param == "ladybug":
        return None
    server = request.getfixturevalue("neo4j_server")
    server.empty()
    return server.url


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, graph_url: str | None) -> Iterator[Library]:
    with create_store(tmp_path_factory.mktemp("library") / "data", graph=graph_url) as store:
        yield fill(store, list(_made()))
