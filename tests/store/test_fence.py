"""A writer that slept through its lease, at any point, changes nothing more and says so; real processes that sleep."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ladybug
import pytest
import sqlalchemy as sa
from circuitstore.errors import StoreBusy, StoreError
from circuitstore.store import create_store, fence, migrate_store, open_store, tables
from circuitstore.store.archive import Archive
from circuitstore.store.fence import Fence
from circuitstore.store.graph import open_graph
from circuitstore.store.lease import LeaseLost
from circuitstore.store.lease_holder import retry_while_busy
from circuitstore.store.locks import Lock, note_in

from ..fixtures import made
from .conftest import World, make_world

HERE, FIXTURES = Path(__file__).parent, Path(made.__file__).parent
AGAIN = make_world(3, (9,))
"""What is unused when `gc` begins, and stored again by the other writer."""


@dataclass(frozen=True)
class Place:
    """A store, and the graph that the other writer uses.

    On the server the same one, else a separate file, as the engine lets nobody near the file of a writer that lives.
    """

    folder: Path
    graph: str | None
    catalog: str | None

    @property
    def others(self) -> dict[str, Any]:
        graph = self.graph or f"ladybug://{self.folder}/other.lbdb"
        return {"location": self.folder, "graph": graph, "catalog": self.catalog}

    def content(self) -> dict[str, Any]:
        """Return the contents of the store and both graphs, without leases."""
        with open_store(**self.others) as store:
            with store.catalog.reading() as connection:
                listed = [table for table in tables.metadata.sorted_tables if table.name != "leases"]
                held = {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in listed}
            files = {p: p.read_bytes() for p in self.folder.glob("archive/**/*") if p.is_file() and p.suffix != ".tmp"}
            return held | {"files": files, "graph": store.graph.present(), "own graph": self.own_graph(store.id)}

    def own_graph(self, id: str) -> dict[str, str] | None:
        """Circuits in the sleeper's graph file, if it has one; None where it has none, or none that is whole."""
        try:
            with open_graph(f"ladybug://{self.folder}/graph.lbdb", store_id=id, read_only=True) as graph:
                return graph.present()
        except StoreError:
            return None


class Sleeper:
    """Works on stores in other processes, which fall asleep."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "sleeper.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, task: str, place: Place, point: str) -> str:
        return self._ask(f"start {task} {place.folder} {place.graph or '-'} {place.catalog or '-'} {point}")

    def wake(self) -> str:
        return self._ask("wake")

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def sleeper_of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Sleeper]]:
    """A process for each kind of server, whose account is in its environment."""
    started: dict[str, Sleeper] = {}

    def get(kind: str) -> Sleeper:
        if kind not in started:
            started[kind] = Sleeper()
        return started[kind]

    yield get
    for sleeper in started.values():
        sleeper.close()


@pytest.fixture(scope="module")
def unused(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """A store with a run, and with what a deleted run has left."""
    folder = tmp_path_factory.mktemp("unused") / "data"
    make(folder, world)
    return folder


def make(folder: Path, world: World, catalog: str | None = None) -> None:
    with create_store(folder, catalog=catalog) as store, store.writer() as writer:
        world.fill(writer)
        AGAIN.fill(writer, "again")
        writer.delete_run("again")


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: str, unused: Path, folder: Path, world: World) -> Place:
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
        make(folder, world, url)
        return Place(folder, None, url)
    shutil.copytree(unused, folder)
    if kind == "neo4j":
        server = request.getfixturevalue("neo4j_server")
        server.empty()
        (folder / "graph.lbdb").unlink()
        with open_store(folder, graph=server.url) as store, store.writer():
            return Place(folder, server.url, None)
    return Place(folder, None, None)


COMMON = [
    ("gc", "archive.write.before"),  # it has seen what is unused
    ("gc", "archive.remove.before"),
    ("gc", "archive.remove.after:2"),
    ("gc", "graph.remove.before"),
    ("gc", "graph.lease.after"),
    ("fill", "archive.fsync.before"),
    ("fill", "archive.rename.before:2"),
    ("fill", "catalog.commit.after:4"),
    ("fill", "graph.commit.before"),
    ("rebuild", "graph.commit.before"),
    ("delete", "graph.lease.before"),
]
OF_KIND = {
    "ladybug": [
        ("fill", "graph.nodes.before"),
        ("fill", "graph.feeds.after"),
        ("rebuild", "graph.create.before"),
        ("rebuild", "graph.create.between"),
    ],
    "neo4j": [
        ("gc", "graph.hide.before"),
        ("gc", "graph.hide.after"),
        ("gc", "graph.changing.before"),
        ("fill", "graph.shared.before"),
        ("fill", "graph.publish.before"),
        ("fill", "graph.changed.before"),
        ("rebuild", "graph.remove.before"),
    ],
    "postgresql": [
        ("gc", "archive.remove.before"),
        ("gc", "archive.write.before"),
        ("fill", "archive.rename.before:2"),
        ("gc", "catalog.commit.before:3"),
    ],
}
EVERY = [(kind, *e) for kind in ("ladybug", "neo4j") for e in (*COMMON, *OF_KIND[kind])]
EVERY += [("postgresql", *e) for e in OF_KIND["postgresql"]]


@pytest.mark.parametrize(("kind", "task", "point"), EVERY)
def test_a_writer_that_slept_through_its_lease_changes_nothing_more(
    kind: str, task: str, point: str, place: Place, sleeper_of: Callable[[str], Sleeper]
) -> None:
    sleeper = sleeper_of(kind)
    assert sleeper.start(task, place, point) == "asleep", place.folder.with_name("said").read_text()
    with create_store(**place.others) as store, store.writer(wait_s=60) as writer:
        AGAIN.fill(writer, "again")
    before = place.content()
    code, said = sleeper.wake(), place.folder.with_name("said").read_text()
    assert place.content() == before
    assert code == "2" and said.count("error: ") == 1 and "Traceback" not in said, said
    message = "suspended for too long" if point.startswith("catalog.commit.before") else "lease on the store was lost"
    assert message in said and "run the same command again" in said
    with open_store(**place.others) as store:
        assert len(store.verify()) == 0, str(store.verify())
    assert not Archive(place.folder / "archive").leftovers()


@pytest.mark.parametrize("point", ["graph.migrate.before", "graph.migrate.after"])
def test_a_migration_that_slept_through_its_lease_changes_nothing_more(
    point: str, folder: Path, tmp_path: Path, sleeper_of: Callable[[str], Sleeper]
) -> None:
    with tarfile.open(FIXTURES / "store-v1.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    place, sleeper = Place(folder, None, None), sleeper_of("ladybug")
    assert sleeper.start("migrate", place, point) == "asleep", folder.with_name("said").read_text()
    others = place.others
    retry_while_busy(lambda: migrate_store(**others), 60)
    with create_store(**others) as store, store.writer(wait_s=60) as writer:
        AGAIN.fill(writer, "again")
    versions = graph_version(folder)
    before = place.content()
    code, said = sleeper.wake(), folder.with_name("said").read_text()
    assert place.content() == before and graph_version(folder) == versions
    assert code == "2" and "lease on the store was lost" in said and "Traceback" not in said, said
    with open_store(**others) as store:
        assert len(store.verify()) == 0, str(store.verify())


def graph_version(folder: Path) -> int:
    """Of the sleeper's graph file and its log, as they are."""
    copy = folder.with_name("copy.lbdb")
    for suffix in ("", ".wal"):
        copy.with_name(f"copy.lbdb{suffix}").unlink(missing_ok=True)
        if (own := folder / f"graph.lbdb{suffix}").exists():
            shutil.copy(own, f"{copy}{suffix}")
    database = ladybug.Database(copy, max_db_size=1 << 36, buffer_pool_size=1 << 26)
    with database, ladybug.Connection(database) as connection:
        return connection.execute("MATCH (m:Migration) RETURN max(m.version)").get_all()[0][0]  # pyright: ignore[reportAttributeAccessIssue]


# --- the fence itself ------------------------------------------------------------------------------


def entered(one: Fence, holds: bool = True) -> None:
    with one.act(lambda: holds):
        pass


def admitted(folder: Path, owner: str) -> Fence:
    made = Fence(folder, owner)
    with made.closed() as name_us:
        name_us()
    return made


def test_only_the_one_that_is_named_may_act(tmp_path: Path) -> None:
    first = admitted(tmp_path, "first")
    entered(first, holds=False)  # the lease is not even looked at
    second = admitted(tmp_path, "second")
    entered(second, holds=False)
    with pytest.raises(LeaseLost, match="second took over"):
        entered(first, holds=False)
    second.leave()
    assert fence.named(tmp_path) is None
    with pytest.raises(LeaseLost, match="has ended"):
        entered(first, holds=False)
    first.leave()  # it is not named, and changes nothing
    assert fence.named(tmp_path) is None


def test_who_holds_the_lease_may_act_whoever_is_named(tmp_path: Path) -> None:
    """As after the death of one that named itself, and then could not take the lease; or when the file is lost."""
    first = admitted(tmp_path, "first")
    admitted(tmp_path, "second")
    entered(first, holds=True)
    assert fence.named(tmp_path) == "first"
    (tmp_path / fence.NAME).unlink()
    entered(first, holds=True)
    assert fence.named(tmp_path) == "first"


def test_nobody_becomes_the_writer_while_another_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "BUSY_S", 0.05)
    first = admitted(tmp_path, "first")
    busy = pytest.raises(StoreBusy, match=r"writer.lock has been locked for 0.05 s.*resume it or end it")
    with first.act(lambda: True), busy:
        admitted(tmp_path, "second")
    admitted(tmp_path, "second")


def test_nobody_acts_while_another_becomes_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "BUSY_S", 0.05)
    first, second = admitted(tmp_path, "first"), Fence(tmp_path, "second")
    with second.closed(), pytest.raises(StoreBusy, match="has been locked"):
        entered(first)
    entered(first)


def test_threads_of_one_writer_act_at_once_and_give_the_lock_back(tmp_path: Path) -> None:
    first = admitted(tmp_path, "first")
    inside = threading.Barrier(4)

    def act() -> None:
        with first.act(lambda: False):
            inside.wait(30)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(act) for _ in range(4)]:
            done.result(timeout=60)
    lock = Lock.take(tmp_path / fence.NAME)
    assert lock is not None and note_in(tmp_path / fence.NAME) == "first"
    lock.release()
