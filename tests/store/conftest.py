"""Small discoveries and circuits of a model of two layers, and stores with them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from circuitstore.circuits import CircuitRecord, Discovery, Extraction, Response, WorkItem
from circuitstore.store import DISCOVERY, Writer, create_store
from circuitstore.testing.factories import make_discovery, make_item, make_record, with_responses


@dataclass(frozen=True)
class World:
    """What a run asks and what its answers are."""

    discoveries: list[Discovery]
    records: list[CircuitRecord]
    responses: list[Response]

    @property
    def items(self) -> list[WorkItem]:
        return [d.item for d in self.discoveries]

    @property
    def wanted(self) -> list[tuple[str, Extraction]]:
        return [(r.discovery_id, r.extraction) for r in self.records]

    def start(self, writer: Writer, run: str = "run") -> None:
        writer.start_run(run, f'name = "{run}"', self.items, self.wanted)

    def fill(self, writer: Writer, run: str = "run") -> None:
        """Start or resume a run, until nothing is pending."""
        self.start(writer, run)
        pending = {item.id for item in writer.pending(run)}
        for discovery in self.discoveries:
            if discovery.id not in pending:
                continue
            if not writer.has(DISCOVERY, discovery.id):
                writer.lease_item(discovery.id)
                writer.put(discovery, run=run)
            for record in self.records:
                if record.discovery_id == discovery.id:
                    mine = [response for response in self.responses if response.id in record.responses.values()]
                    writer.put(*mine, record, run=run)


def make_world(count: int = 3, sizes: tuple[int, ...] = (6, 12)) -> World:
    found = [
        make_discovery(i, n_images=5, item=make_item(i, class_index=i, n_layers=2, n_heads=2)) for i in range(count)
    ]
    made = [with_responses(make_record(d, n)) for d in found for n in sizes]
    responses = {response.id: response for _, some in made for response in some}
    return World(found, [record for record, _ in made], list(responses.values()))


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "data"
    with create_store(folder) as store, store.writer() as writer:
        world.fill(writer)
    return folder


@pytest.fixture
def filled(kept: Path, folder: Path) -> Path:
    """A separate store with the world, under the run `run`."""
    return Path(shutil.copytree(kept, folder))


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a place for a catalog, with nothing in it yet, on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"
