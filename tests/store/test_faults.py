"""Killed at any fault point and run again, a store equals the undisturbed one, edge by edge; on both engines."""

from __future__ import annotations

import itertools
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import circuitstore.store
import pytest
from circuitstore.store import Store, open_store

from ..waiting import LONG_S

HERE = Path(__file__).parent
ROOM = Path(circuitstore.store.__file__).parent
ENGINES = ("ladybug", "neo4j")
GRAPH = "graph.lbdb"


def points(sources: Iterator[Path] | list[Path]) -> list[str]:
    """The points that the sources name.

    Those with other tests are left out: `test_migrate.py`, `test_damaged_catalog.py`, `testing/graph_similar.py`,
    `testing/graph_notes.py`.
    """
    found = {p for file in sources for p in re.findall(r'\bfault\("([^"]+)"\)', file.read_text())}
    return sorted(
        p for p in found if not p.startswith(("graph.migrate.", "catalog.aside.", "graph.similar.", "graph.notes."))
    )


FOLDERS = {engine: ROOM / "graph" / engine for engine in ENGINES}
COMMON = points([p for p in ROOM.rglob("*.py") if p.parent not in FOLDERS.values()])
OF_ENGINE = {engine: points(folder.glob("*.py")) for engine, folder in FOLDERS.items()}
EVERY = [(engine, p) for engine in ENGINES for p in (*COMMON, *OF_ENGINE[engine])]


@dataclass(frozen=True)
class Place:
    """Where a store under test is: its folder, and the URLs of graph and catalog where they are on a server."""

    folder: Path
    graph: str | None = None
    catalog: str | None = None

    def open(self) -> Store:
        return open_store(self.folder, graph=self.graph, catalog=self.catalog)


class Killable:
    """Works on stores in another process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "killable.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def work(self, place: Place, point: str = "-", task: str = "work") -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        urls = f"{place.graph or '-'} {place.catalog or '-'}"
        self._process.stdin.write(f"{task} {place.folder} {urls} {point}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=LONG_S)


@pytest.fixture(scope="module")
def killable_by_engine(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Killable]]:
    """A process for each engine: the account of its server is in its environment."""
    started: dict[str, Killable] = {}

    def get(engine: str) -> Killable:
        if engine not in started:
            if engine != "ladybug":
                request.getfixturevalue(f"{engine}_server")
            started[engine] = Killable()
        return started[engine]

    yield get
    for process in started.values():
        process.close()


@pytest.fixture
def killable(engine: str, killable_by_engine: Callable[[str], Killable]) -> Killable:
    return killable_by_engine(engine)


@pytest.fixture
def place(engine: str, folder: Path, request: pytest.FixtureRequest) -> Place:
    if engine == "ladybug":
        return Place(folder)
    server = request.getfixturevalue("neo4j_server")
    server.empty()
    return Place(folder, server.url)


def content(store: Store) -> dict[str, Any]:
    """Return the contents of a store without times and numbers of attempts; `verify` compares the graph with it."""
    return {
        "runs": store.runs().drop(columns=["created_ms", "changed_ms"]).to_csv(index=False),
        "items": store.items().drop(columns=["attempts", "changed_ms"]).to_csv(index=False),
        "circuits": store.circuits().drop(columns=["created_ms"]).to_csv(index=False),
        "discoveries": {id: store.discovery(id).sha256 for id in store.archive.ids("discovery")},
        "circuit files": list(store.archive.ids("circuit")),
        "graph": store.graph.present(),
    }


@pytest.fixture(scope="module")
def undisturbed_folder(killable_by_engine: Callable[[str], Killable], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "data"
    assert killable_by_engine("ladybug").work(Place(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def undisturbed(undisturbed_folder: Path) -> dict[str, Any]:
    with open_store(undisturbed_folder) as store:
        return content(store)


def check(place: Place, undisturbed: dict[str, Any]) -> None:
    with place.open() as store:
        assert len(store.verify()) == 0, str(store.verify())
        assert not store.archive.leftovers()
        assert content(store) == undisturbed
        assert store.query("MATCH (n:Node) RETURN count(n) AS n").to_pandas()["n"].tolist() == [
            sum(store.circuits()["n_nodes"])
        ]


def test_every_point_has_a_name_of_its_own() -> None:
    """So that a kill at a name is a kill at that place; a name that is put together would not be found at all."""
    for mine, other in (ENGINES, ENGINES[::-1]):
        files = [p for p in ROOM.rglob("*.py") if p.parent != FOLDERS[other]]
        calls = [call for file in files for call in re.findall(r"(?<!def )\bfault\(([^)]*)\)", file.read_text())]
        assert len(calls) == len(set(calls)) and all(re.fullmatch(r'"[a-z_.]+"', call) for call in calls), mine


@pytest.mark.parametrize("engine", ENGINES)
def test_there_is_a_point_between_any_two_durable_steps(place: Place, killable: Killable) -> None:
    """Seen as they happen: fsync, rename, removal, COPY and commit, of archive, catalog and graph."""
    assert killable.work(place, task="record") == 0
    steps = [line.split(" ", 1) for line in place.folder.with_name("steps").read_text().splitlines()]
    assert (steps[0][0], steps[-1][0]) == ("point", "point")
    kinds = {what.split(" /")[0] for kind, what in steps if kind == "step"}
    common = {"fsync", "os.rename", "os.remove", "commit of the catalog"}
    own = {"ladybug": {"COMMIT", "CHECKPOINT", "COPY FEEDS FROM $rows"}, "neo4j": {"commit of the server"}}
    assert common | own["neo4j" if place.graph else "ladybug"] <= kinds
    bare = {(a[1], b[1]) for a, b in itertools.pairwise(steps) if a[0] == b[0] == "step"}
    assert not bare


def doubt(folder: Path) -> None:
    """As a failed write leaves it."""
    (folder / f"{GRAPH}.doubted").touch()


def spoil(folder: Path) -> None:
    (folder / GRAPH).write_bytes(b"no database")


def strand(folder: Path) -> None:
    """A log without its file."""
    (folder / GRAPH).rename(folder / f"{GRAPH}.wal")


HARMED = {"graph.doubted": doubt, "graph.hopeless": spoil, "graph.aside": strand}
"""What must have happened to a finished store, on LadybugDB, for points to be passed."""

KILLED_BEFORE = {"graph.sweep": "graph.feeds.after"}
"""Where a run must have been killed for points to be passed."""


def lead_up_to(point: str, place: Place, killable: Killable, undisturbed_folder: Path) -> None:
    """What has to be for a run to pass the point."""
    group = point.rpartition(".")[0]
    if group in HARMED:
        shutil.copytree(undisturbed_folder, place.folder)
        HARMED[group](place.folder)
    elif group in KILLED_BEFORE:
        assert killable.work(place, KILLED_BEFORE[group]) == -9


@pytest.mark.parametrize(("engine", "point"), [e for e in EVERY if not e[1].startswith("graph.recreate.")])
def test_killed_at_a_point(
    point: str, place: Place, killable: Killable, undisturbed_folder: Path, undisturbed: dict[str, Any]
) -> None:
    lead_up_to(point, place, killable, undisturbed_folder)
    assert killable.work(place, point) == -9, f"no run passes {point}: give the killable process more to do"
    assert killable.work(place) == 0
    check(place, undisturbed)


@pytest.mark.parametrize(("engine", "point"), [e for e in EVERY if e[1].startswith("graph.recreate.")])
def test_killed_while_the_schema_is_created_again(
    point: str, place: Place, killable: Killable, undisturbed: dict[str, Any], neo4j_server
) -> None:
    assert killable.work(place) == 0
    neo4j_server.ask("MATCH (m:Migration) SET m.checksum = 'of another form'")
    assert killable.work(place, point, task="rebuild") == -9
    assert killable.work(place, task="rebuild") == 0
    check(place, undisturbed)


@pytest.mark.parametrize("point", [p for p in COMMON if p.startswith("catalog.")])
def test_killed_at_commits_of_a_catalog_on_a_server(
    point: str,
    folder: Path,
    postgres_url: str,
    killable_by_engine: Callable[[str], Killable],
    undisturbed: dict[str, Any],
) -> None:
    """At the first, in the next run at its third, and so on, until a run gets to its end."""
    place, killable = Place(folder, catalog=postgres_url), killable_by_engine("postgres")
    statuses = list(itertools.takewhile(bool, (killable.work(place, f"{point}:{n}") for n in itertools.count(1, 2))))
    assert set(statuses) == {-9} and len(statuses) >= 6
    check(place, undisturbed)


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_several_times(engine: str, place: Place, killable: Killable, undisturbed: dict[str, Any]) -> None:
    """At ten points, the first or a later time that they are passed."""
    chance = random.Random(engine)
    statuses = [
        killable.work(place, f"{chance.choice([*COMMON, *OF_ENGINE[engine]])}:{chance.choice((1, 1, 2, 5))}")
        for _ in range(10)
    ]
    assert set(statuses) <= {0, -9} and statuses.count(-9) >= 4
    assert killable.work(place) == 0
    check(place, undisturbed)
