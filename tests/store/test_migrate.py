"""A store of schema 1, as an earlier version of the program left it, becomes one of today."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ladybug
import neo4j
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from circuitstore.circuits import CircuitRecord
from circuitstore.errors import StoreBusy, StoreError, StoreVersion
from circuitstore.store import Store, create_store, migrate_store, open_store, tables
from circuitstore.store.archive import Archive
from circuitstore.store.catalog import Catalog
from circuitstore.store.faults import VARIABLE
from circuitstore.store.graph import migrate_graph, open_graph
from circuitstore.store.graph.content import GraphContent
from circuitstore.store.graph.ladybug.file import lock_of
from circuitstore.store.graph.migrations import Migration, migrations
from circuitstore.store.tables import SCHEMA
from circuitstore.testing.factories import make_discovery, make_item, make_neuron_records, make_record

from ..fixtures import made, rows
from .test_faults import ROOM, doubt
from .test_full_disk import fill_up, mounted

FIXTURES = Path(made.__file__).parent
NOW = migrations("ladybug")[-1].version
KILLS = [  # where, and the versions of catalog and graph that it leaves; the first commit is that of the lease
    ("ladybug", "catalog.commit.before:2", "0001", 1),
    ("ladybug", "catalog.commit.after:2", SCHEMA, 1),
    ("ladybug", "graph.migrate.before", SCHEMA, 1),
    ("ladybug", "graph.migrate.after", SCHEMA, 2),
    ("ladybug", f"graph.migrate.after:{NOW - 1}", SCHEMA, NOW),
    ("neo4j", "graph.migrate.before", SCHEMA, 1),
    ("neo4j", "graph.migrate.after", SCHEMA, 2),
    ("neo4j", f"graph.migrate.after:{NOW - 1}", SCHEMA, NOW),
]
Ask = Callable[[str], list[Any]]


@dataclass(frozen=True)
class Kept:
    """A store of an earlier version.

    Attributes:
        backend: of its graph.
        folder: holds it.
        graph: URL of its graph where that is not in the folder.
        ask: rows of a statement on the graph, past our code.
    """

    backend: str
    folder: Path
    graph: str | None
    ask: Ask

    @property
    def id(self) -> str:
        return str(Archive(self.folder / "archive").identity)

    @property
    def graph_url(self) -> str:
        return self.graph or f"ladybug://{self.folder}/graph.lbdb"

    def open(self) -> Store:
        return open_store(self.folder, graph=self.graph)

    def migrate(self) -> list[list[str]]:
        return migrate_store(self.folder, graph=self.graph).to_pandas().to_numpy().tolist()

    @property
    def catalog(self) -> Catalog:
        return Catalog(f"sqlite:///{self.folder}/catalog.sqlite", read_only=False)

    def versions(self) -> tuple[str | None, int]:
        """Of catalog and graph."""
        return self.catalog.version(), self.ask("MATCH (m:Migration) RETURN max(m.version)")[0][0]

    def held(self) -> dict[str, list[Any]]:
        """Everything in its graph, but how often circuits became visible."""
        if not self.graph:
            return file_content(self.folder / "graph.lbdb")
        found = rows.dump(self.ask)
        for labels, properties in found["nodes"]:
            if labels == ["Store"]:
                properties.pop("epoch", None)
        return found

    def records(self) -> dict[CircuitRecord, int]:
        """The circuits of its archive, with the times at which they were stored."""
        archive = Archive(self.folder / "archive")
        return dict(archive.circuit(id) for id in archive.ids("circuit"))


@pytest.fixture(params=["ladybug", "neo4j"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    """The store of schema 1, its graph embedded or on a server."""
    with tarfile.open(FIXTURES / "store-v1.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    folder = tmp_path / "data"
    if request.param == "ladybug":
        return Kept("ladybug", folder, None, lambda text: ask_file(folder / "graph.lbdb", text))
    server = request.getfixturevalue("neo4j_server")
    server.strip()
    held = json.loads((FIXTURES / "neo4j-v1.json").read_text(encoding="utf-8"))
    auth = (server.user, server.password)
    with (
        neo4j.GraphDatabase.driver(server.address, auth=auth, notifications_min_severity="OFF") as driver,
        driver.session(database=server.database) as session,
    ):
        rows.load(lambda text, **params: list(session.run(text, params)), held)
    (folder / "graph.lbdb").unlink()
    return Kept("neo4j", folder, server.url, server.ask)


@contextmanager
def asking(path: Path) -> Iterator[Ask]:
    """Rows of statements on a LadybugDB file."""
    with (
        ladybug.Database(path, buffer_pool_size=1 << 26, max_db_size=1 << 36) as database,
        ladybug.Connection(database) as connection,
    ):
        yield lambda text: cast(ladybug.QueryResult, connection.execute(text)).get_all()
    lock_of(path).unlink(missing_ok=True)  # closing a database may write to its file


def ask_file(path: Path, text: str) -> list[Any]:
    with asking(path) as ask:
        return ask(text)


def file_content(path: Path) -> dict[str, list[Any]]:
    """Of a LadybugDB file: columns and rows of its tables, but the order of columns and the numbers of rows."""

    def plain(value: Any) -> Any:
        return sorted((k, repr(v)) for k, v in value.items() if k[0] != "_") if isinstance(value, dict) else value

    found: dict[str, list[Any]] = {}
    with asking(path) as ask:
        for name, kind in ask("CALL show_tables() RETURN name, type"):
            found[f"{name}, columns"] = sorted(row[1:3] for row in ask(f"CALL table_info('{name}') RETURN *"))
            text = f"MATCH (x:{name}) RETURN x" if kind == "NODE" else f"MATCH (x)-[y:{name}]->(z) RETURN x, y, z"
            found[name] = sorted([plain(value) for value in row] for row in ask(text))
    return found


def test_an_earlier_store_is_refused_with_both_versions_and_the_command(kept: Kept) -> None:
    with pytest.raises(StoreVersion, match=rf"schema 0001.*reads {SCHEMA}.*circuitstore migrate"):
        kept.open()
    with pytest.raises(StoreVersion, match=rf"schema 0001.*reads {SCHEMA}.*circuitstore migrate"):
        create_store(kept.folder, graph=kept.graph)
    for read_only in (False, True):
        with pytest.raises(StoreVersion, match=rf"version 1, .* needs {NOW}; .*circuitstore migrate"):
            open_graph(kept.graph_url, store_id=kept.id, read_only=read_only)
    assert kept.versions() == ("0001", 1)


def test_a_migrated_store_is_one_made_today(kept: Kept, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    steps = ", ".join(f"{m.version:04d}_{m.name}" for m in migrations(kept.backend)[1:])
    assert kept.migrate() == [["catalog", f"from 0001 to {SCHEMA}"], ["graph", steps]]
    assert kept.versions() == (SCHEMA, NOW)
    with kept.open() as store:
        assert len(store.verify()) == 0, str(store.verify())
        assert store.items(state="failed")["error"].tolist() == [made.ERROR]
        migrated, discoveries = listed(store), [store.discovery(d.id) for d in made.discoveries()]
        share = store.query("MATCH (c:Circuit) RETURN c.id AS id, 1.0 * c.n_edges / c.n_graph_edges AS share")
    records = kept.records()
    shares = {r.id: r.circuit.n_edges / len(r.circuit.graph.edge_names) for r in records}
    assert dict(share.to_pandas().to_numpy().tolist()) == shares
    with kept.catalog.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    with create_store(tmp_path / "today") as store, store.writer() as writer:
        made.fill(writer, discoveries, list(records))
        assert listed(store) == migrated

    held = kept.held()
    if kept.graph:
        request.getfixturevalue("neo4j_server").strip()
    else:
        (kept.folder / "graph.lbdb").unlink()
    with open_graph(kept.graph_url, store_id=kept.id) as graph:
        graph.put(list(records), {r.id: ms for r, ms in records.items()})
    assert kept.held() == held


def listed(store: Store) -> dict[str, str]:
    """The contents of a catalog, without times."""
    frames = {"runs": store.runs(), "items": store.items(), "circuits": store.circuits()}
    frames |= {f"circuits of {run}": store.circuits(run) for run in ("first", "second")}
    return {
        name: frame.drop(columns=["created_ms", "changed_ms"], errors="ignore").to_csv(index=False)
        for name, frame in frames.items()
    }


def test_a_migrated_graph_takes_circuits_over_neurons(kept: Kept) -> None:
    kept.migrate()
    assert kept.ask("MATCH (n:Node) RETURN DISTINCT n.neuron") == [[None]]
    (record,) = make_neuron_records("5 | 17", n=1)
    with open_graph(kept.graph_url, store_id=kept.id) as graph:
        graph.put([record], {record.id: 1})
        assert GraphContent.of(record, 1).differences(graph.content(record.id)) == []
        found = graph.run("MATCH (n:Node)-[:INSTANCE_OF]->(k:Component) WHERE n.neuron = 17 RETURN n.name, k.neuron")
    assert found.to_pandas().to_numpy().tolist() == [["m1.n17", 17]]


def test_migrating_again_does_nothing(kept: Kept) -> None:
    kept.migrate()
    held = kept.held()
    assert kept.migrate() == [["catalog", "up to date"], ["graph", "up to date"]]
    assert kept.held() == held


def test_a_migrated_store_is_written_and_rebuilt_like_any_other(kept: Kept) -> None:
    kept.migrate()
    discovery = make_discovery(9, n_images=5, item=make_item(9, class_index=9, n_layers=2, n_heads=2))
    with kept.open() as store, store.writer() as writer:
        writer.start_run("third", "", [discovery.item])
        writer.put(discovery, run="third")
        writer.put(make_record(discovery, 6), run="third")
        writer.flush()
        assert len(store.verify()) == 0
        held = {id: store.graph.content(id) for id in store.circuits()["id"]}
        writer.rebuild()
        assert all(content.differences(store.graph.content(id)) == [] for id, content in held.items())
        assert len(held) == 7 and len(store.verify()) == 0


@pytest.mark.parametrize(("kept", "point", "catalog", "graph"), KILLS, indirect=["kept"])
def test_a_killed_migration_goes_on(kept: Kept, point: str, catalog: str, graph: int) -> None:
    """Whatever the graph is, the catalog is migrated first."""
    command = [sys.executable, "-m", "circuitstore.cli", "migrate", "--store", str(kept.folder)]
    command += ["--graph", kept.graph] if kept.graph else []
    done = subprocess.run(command, env={**os.environ, VARIABLE: point}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert kept.versions() == (catalog, graph)
    kept.migrate()
    assert kept.versions() == (SCHEMA, NOW)
    with kept.open() as store:
        assert len(store.verify()) == 0, str(store.verify())


def test_every_point_of_a_migration_is_one_of_these() -> None:
    named = {
        (backend, point)
        for backend in ("ladybug", "neo4j")
        for file in (ROOM / "graph" / backend).glob("*.py")
        for point in re.findall(r'\bfault\("(graph\.migrate\.[^"]+)"\)', file.read_text())
    }
    assert named == {(backend, point.partition(":")[0]) for backend, point, *_ in KILLS if point.startswith("graph.")}


def run_migrate(kept: Kept, graph: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "circuitstore.cli", "migrate", "--store", str(kept.folder), "--graph", graph]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kept", ["ladybug"], indirect=True)
def test_a_migration_for_which_there_is_no_room_is_reported_and_resumes(kept: Kept, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "24m") as disk:
        graph = f"ladybug://{shutil.move(kept.folder / 'graph.lbdb', disk)}"
        ballast = fill_up(disk)
        refused = run_migrate(kept, graph)
        assert refused.returncode == 2 and "room" in refused.stderr.splitlines()[-1], refused.stderr
        ballast.unlink()
        assert run_migrate(kept, graph).returncode == 0
        with open_store(kept.folder, graph=graph) as store:
            assert len(store.verify()) == 0 and len(store.graph.present()) == len(kept.records())


@pytest.mark.parametrize("kept", ["ladybug"], indirect=True)
def test_a_graph_that_migrating_creates_again_is_filled_and_logged(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """A write to it had failed, in an earlier attempt say."""
    doubt(kept.folder)
    with caplog.at_level(logging.WARNING, logger="circuitstore"):
        kept.migrate()
    assert re.search(r"earlier write .* failed.*created again.*lacked (\d+) of \1 circuits", caplog.text, re.DOTALL)
    with kept.open() as store:
        assert len(store.verify()) == 0, str(store.verify())


def test_a_newer_store_is_refused_with_both_versions(kept: Kept) -> None:
    kept.migrate()
    kept.ask(f"CREATE (:Migration {{version: {NOW + 1}, name: 'to come', checksum: 'x'}})")
    for act in (lambda: kept.open().graph, kept.migrate):
        with pytest.raises(StoreVersion, match=rf"schema version {NOW + 1}, .* up to {NOW}; .*circuitstore rebuild"):
            act()
    with kept.catalog.writing() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{int(SCHEMA) + 1:04d}'"))
    for act in (kept.open, kept.migrate):
        with pytest.raises(StoreVersion, match=rf"schema {int(SCHEMA) + 1:04d}, .* reads {SCHEMA}: .*newer"):
            act()


def test_a_step_taken_in_another_form_is_refused(kept: Kept) -> None:
    kept.ask("MATCH (m:Migration {version: 1}) SET m.checksum = 'abcdef'")
    with pytest.raises(StoreVersion, match=r"version 1 was made by another form .*abcdef.*circuitstore rebuild"):
        kept.migrate()
    assert kept.versions() == (SCHEMA, 1)


def test_a_graph_that_is_written_is_not_migrated(kept: Kept) -> None:
    with kept.catalog.writing() as connection:
        connection.execute(sa.text("UPDATE leases SET owner = 'someone elsewhere', until_ms = 9000000000000"))
    with pytest.raises(StoreBusy, match="someone elsewhere"):
        kept.migrate()
    if kept.graph:  # a file is locked instead
        kept.ask("MATCH (s:Store) SET s.lease_owner = 'someone elsewhere', s.lease_until_ms = 9000000000000")
        with pytest.raises(StoreBusy, match="someone elsewhere"):
            migrate_graph(kept.graph, store_id=kept.id)
    assert kept.versions() == ("0001", 1)


def test_the_lease_of_a_dead_writer_is_in_nobodys_way(kept: Kept) -> None:
    text = "from circuitstore.store.lease import Owner; print(Owner.new().text)"
    dead = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.strip()
    with kept.catalog.writing() as connection:
        connection.execute(sa.text("UPDATE leases SET owner = :dead, until_ms = 9000000000000"), {"dead": dead})
    kept.ask(f"MATCH (s:Store) SET s.lease_owner = '{dead}', s.lease_until_ms = 9000000000000")
    kept.migrate()
    assert kept.versions() == (SCHEMA, NOW)


STEPS = {
    "ladybug": "ALTER TABLE Class ADD n INT64;\nMATCH (k:Class) SET k.n = k.class_index + 1;",
    "neo4j": "CREATE INDEX circuitstore_x IF NOT EXISTS FOR (k:Class) ON (k.n);\n"
    "MATCH (k:Class) SET k.n = k.class_index + 1;",
}


def test_a_step_may_change_schema_and_data(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.migrate()
    step = Migration(NOW + 1, "more", STEPS[kept.backend])
    several = lambda backend: (*migrations(backend), step)  # noqa: E731
    monkeypatch.setattr("circuitstore.store.graph.migrations.migrations", several)
    assert migrate_graph(kept.graph_url, store_id=kept.id) == (f"{NOW + 1:04d}_more",)
    assert sorted(kept.ask("MATCH (k:Class) RETURN k.class_index, k.n")) == [[0, 1], [1, 2], [2, 3]]
    assert kept.ask("MATCH (s:Store) RETURN s.schema") == [[NOW + 1]]


@pytest.mark.parametrize("kept", ["neo4j"], indirect=True)  # a file to which a write failed is created again
def test_a_step_that_fails_on_a_server_changes_no_data(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.migrate()
    step = Migration(NOW + 1, "more", STEPS["neo4j"] + "\nMATCH (k:Class) SET k.n = 1 / 0;")
    several = lambda backend: (*migrations(backend), step)  # noqa: E731
    monkeypatch.setattr("circuitstore.store.graph.migrations.migrations", several)
    with pytest.raises(StoreError, match="/ by zero"):
        migrate_graph(kept.graph, store_id=kept.id)
    assert kept.ask("MATCH (k:Class) WHERE k.n IS NOT NULL RETURN k.n") == []
    assert kept.versions() == (SCHEMA, NOW)
