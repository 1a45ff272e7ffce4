from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import circuitstore.migrations.catalog
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from circuitstore.circuits import CircuitRecord
from circuitstore.errors import InputError, StoreBusy, StoreDamaged, StoreError, StoreVersion
from circuitstore.store import CIRCUIT, answers, catalog_lease, ledger, listing, postgres, sql, sqlite, tables
from circuitstore.store.catalog import Catalog
from circuitstore.store.lease import Owner, now_ms
from circuitstore.store.runs import RunRequest
from circuitstore.testing.factories import make_discovery, make_record
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.pool import NullPool

from ..postgres_server import PostgresServer
from ..waiting import LONG_S


@pytest.fixture
def url(catalog_url: str) -> str:
    """Of an empty catalog, on each kind of database."""
    assert writable(catalog_url).upgrade() is None
    return catalog_url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty catalog of SQLite's."""
    path = tmp_path / "catalog.sqlite"
    writable(f"sqlite:///{path}").upgrade()
    return path


def writable(url: str) -> Catalog:
    return Catalog(url, read_only=False)


def set_version(url: str, version: str) -> None:
    with writable(url).writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(circuitstore.migrations.catalog.__path__[0])))
    config.set_main_option("path_separator", "os")
    return config


def migrate(connection: sa.Connection, revision: str) -> None:
    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def together(acts: Sequence[Callable[[], object]]) -> list[object]:
    """Return the result or the error of each, all started at once in separate threads."""
    with ThreadPoolExecutor(len(acts)) as pool:
        begun = [pool.submit(act) for act in acts]
    return [b.exception() or b.result() for b in begun]


def run_row(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "spec": "", "created_ms": 1, "changed_ms": 1} | changes


def add_run(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.insert(tables.runs).values(run_row(name)))


def run_names(url: str) -> list[str]:
    with Catalog(url, read_only=True).reading() as connection:
        return ledger.run_names(connection)


# --- on every kind of database -----------------------------------------------------------------------


def test_the_migrations_make_the_tables_of_a_new_catalog(catalog_url: str) -> None:
    """Types, defaults, keys and indexes; columns that were added later are the last ones of a migrated table."""
    made = {}
    for how in (tables.create, lambda connection: migrate(connection, tables.SCHEMA)):
        with suppress(Undone), writable(catalog_url).writing() as connection:
            how(connection)
            assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
            made[how] = structure(connection)
            raise Undone
    one, other = made.values()
    assert one == other and one.keys() == {*tables.metadata.tables, "alembic_version"}


def structure(connection: sa.Connection) -> dict[str, Any]:
    """What the database itself knows about each table."""
    inspector = sa.inspect(connection)

    def sorted_text(rows: Sequence[Any]) -> list[str]:
        return sorted(str(sorted(dict(row, name=row["name"]).items(), key=str)) for row in rows)

    return {
        table: {
            "columns": sorted_text(inspector.get_columns(table)),
            "key": sorted(inspector.get_pk_constraint(table)["constrained_columns"]),
            "foreign keys": sorted_text(inspector.get_foreign_keys(table)),
            "indexes": sorted_text(inspector.get_indexes(table)),
            "unique": sorted_text(inspector.get_unique_constraints(table)),
        }
        for table in inspector.get_table_names()
    }


def test_a_catalog_of_the_first_version_is_brought_up_to_date(catalog_url: str) -> None:
    catalog = writable(catalog_url)
    with catalog.writing() as connection:
        migrate(connection, "0001")
    with pytest.raises(StoreVersion, match=rf"schema 0001.*reads {tables.SCHEMA}.*circuitstore migrate"):
        catalog.check_version()
    assert catalog.upgrade() == "0001"
    with catalog.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_creation_that_fails_changes_nothing(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create = tables.create

    def fail_at_the_end(connection: sa.Connection) -> None:
        create(connection)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(tables, "create", fail_at_the_end)
        with pytest.raises(ZeroDivisionError):
            writable(catalog_url).upgrade()
    assert writable(catalog_url).version() is None
    assert writable(catalog_url).upgrade() is None


def test_a_migration_that_fails_changes_nothing(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, upgrade = writable(catalog_url), command.upgrade
    with catalog.writing() as connection:
        migrate(connection, "0001")

    def fail_at_the_end(config: Config, revision: str) -> None:
        upgrade(config, revision)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", fail_at_the_end)
        with pytest.raises(ZeroDivisionError):
            catalog.upgrade()
    assert catalog.version() == "0001"
    assert catalog.upgrade() == "0001"


def test_several_make_a_catalog_at_once(catalog_url: str) -> None:
    together([lambda: writable(catalog_url).upgrade()] * 4)
    assert Catalog(catalog_url, read_only=True).version() == tables.SCHEMA


def test_the_code_is_of_the_last_revision_and_revisions_sort_by_name() -> None:
    revisions = [r.revision for r in ScriptDirectory.from_config(migrations()).walk_revisions()]
    assert revisions == sorted(revisions, reverse=True) and revisions[0] == tables.SCHEMA


def test_upgrading_again_changes_nothing(url: str) -> None:
    def last_transaction() -> object:
        with writable(url).reading() as connection:
            if connection.dialect.name == "sqlite":
                return Path(str(connection.engine.url.database)).read_bytes()
            return connection.exec_driver_sql("SELECT xmin, ctid FROM alembic_version").all()

    before = last_transaction()
    assert writable(url).upgrade() == tables.SCHEMA
    assert last_transaction() == before


def test_a_newer_schema_names_both_versions(url: str) -> None:
    set_version(url, "0999")
    for act in (writable(url).check_version, writable(url).upgrade):
        with pytest.raises(StoreVersion, match=rf"schema 0999.*reads {tables.SCHEMA}.*newer.*update circuitstore"):
            act()


def test_the_database_of_another_program_raises(catalog_url: str) -> None:
    with writable(catalog_url).writing() as connection:
        connection.exec_driver_sql("CREATE TABLE recipes (cake TEXT)")
    for act in (writable(catalog_url).upgrade, Catalog(catalog_url, read_only=True).check_version):
        with pytest.raises(StoreError, match=r"found other tables \(recipes\)"):
            act()


def test_an_empty_database_is_called_empty(catalog_url: str) -> None:
    writable(catalog_url).version()  # makes SQLite's file
    with pytest.raises(StoreError, match=r"is empty.*circuitstore index"):
        Catalog(catalog_url, read_only=True).check_version()


def test_a_reader_cannot_write(url: str) -> None:
    reader = Catalog(url, read_only=True)
    for open in (reader.reading, reader.writing):
        with pytest.raises(StoreError, match=r"read-?only"), open() as connection:
            add_run(connection, "r")
            connection.commit()
    assert run_names(url) == []


def test_a_writers_reading_cannot_block_or_be_blocked(url: str) -> None:
    catalog = writable(url)
    with catalog.reading() as reader:
        assert reader.execute(sa.select(tables.runs)).all() == []
        with catalog.writing() as connection:
            add_run(connection, "r")
            assert ledger.run_names(reader) == []
    assert run_names(url) == ["r"]


def test_a_reader_sees_one_moment(url: str) -> None:
    with Catalog(url, read_only=True).reading() as reader:
        assert ledger.run_names(reader) == []
        with writable(url).writing() as connection:
            add_run(connection, "r")
        assert ledger.run_names(reader) == []
    assert run_names(url) == ["r"]


def test_a_transaction_is_all_or_nothing(url: str) -> None:
    with pytest.raises(ZeroDivisionError), writable(url).writing() as connection:
        add_run(connection, "r")
        raise ZeroDivisionError
    assert run_names(url) == []


def test_references_are_enforced(url: str) -> None:
    row = {"run": "no such run", "item": "no such item", "position": 0}
    with (
        pytest.raises(StoreDamaged, match=r"(?s)rows contradict each other.*circuitstore rebuild"),
        writable(url).writing() as connection,
    ):
        connection.execute(sa.insert(tables.run_items).values(**row))


def test_a_locked_catalog_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (sqlite, postgres):
        monkeypatch.setattr(kind, "BUSY_S", 0.1)
    with writable(url).writing(), pytest.raises(StoreBusy, match="has locked it for"), writable(url).writing():
        pass


def test_writers_come_one_after_another_and_see_what_was_written_before(url: str) -> None:
    catalog = writable(url)

    def add() -> None:
        with catalog.writing() as connection:
            add_run(connection, str(len(ledger.run_names(connection))))

    assert together([add] * 8) == [None] * 8
    assert sorted(run_names(url)) == [str(i) for i in range(8)]


def test_no_connection_is_kept(url: str) -> None:
    """A fork would share it; a server would count it."""
    assert isinstance(writable(url)._engine.pool, NullPool)


# --- values: the same come back from every kind ------------------------------------------------------


@pytest.fixture(scope="module")
def catalogs(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Catalog]]:
    """An empty catalog of each kind."""
    with postgres_server.database() as there:
        made = [writable(url) for url in (f"sqlite:///{tmp_path_factory.mktemp('values') / 'c.sqlite'}", there)]
        for catalog in made:
            catalog.upgrade()
        yield made


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(names=st.sets(TEXTS, min_size=1, max_size=6), spec=TEXTS, ms=st.integers(-(2**63), 2**63 - 1))
def test_texts_and_large_numbers_come_back_and_sort_alike(
    catalogs: list[Catalog], names: set[str], spec: str, ms: int
) -> None:
    for catalog in catalogs:
        with pytest.raises(Undone), catalog.writing() as connection:
            rows = [run_row(name, spec=spec, changed_ms=ms) for name in names]
            assert sql.insert_new(connection, tables.runs, rows) == len(names)
            assert ledger.run_names(connection) == sorted(names)
            assert {(r.spec, r.changed_ms) for r in connection.execute(sa.select(tables.runs))} == {(spec, ms)}
            raise Undone


class Undone(Exception):
    """Ends a transaction that is to leave nothing."""


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(value=st.one_of(st.none(), st.floats(allow_nan=False)))
def test_floats_come_back_to_the_last_bit(catalogs: list[Catalog], record: CircuitRecord, value: float | None) -> None:
    row = CIRCUIT.row(record, 1) | {"metric_full": value}
    for catalog in catalogs:
        with pytest.raises(Undone), catalog.writing() as connection:
            ledger.add_items(connection, [record.item], 1)
            sql.insert_new(connection, tables.circuits, [row])
            assert answers.rows(connection, CIRCUIT) == {record.id: row}
            raise Undone


@pytest.fixture(scope="module")
def record() -> CircuitRecord:
    return make_record(make_discovery(0, n_images=3))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(text=st.text(st.characters() | st.sampled_from("\0\ud800"), max_size=20))
def test_any_error_can_be_written_down(catalogs: list[Catalog], record: CircuitRecord, text: str) -> None:
    for catalog in catalogs:
        with pytest.raises(Undone), catalog.writing() as connection:
            ledger.add_run(connection, RunRequest("run", "", (record.item,), (), 1))
            assert ledger.set_state(connection, record.item.id, "failed", error=text) == 1
            kept = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
            assert ledger.failures(connection, "run") == {record.item.id: kept}
            raise Undone


@pytest.fixture(scope="module")
def listed(catalogs: list[Catalog], record: CircuitRecord) -> list[Catalog]:
    """The catalogs, with circuits of classes whose names people, and languages, sort in other ways."""
    names = ["b", "B", "a", "A", "ä", "Z", "_", "3", "a b", "a-b", "%", "İ"]
    rows = [
        CIRCUIT.row(record, 1)
        | {"id": f"{i:x}" * 64, "class": name, "condition": name, "class_index": 0, "size_requested": i or None}
        for i, name in enumerate(names)
    ]
    for catalog in catalogs:
        with catalog.writing() as connection:
            ledger.add_items(connection, [record.item], 1)
            sql.insert_new(connection, tables.circuits, rows)
    return catalogs


@pytest.mark.parametrize(
    ("column", "asked", "found"),
    [
        ("class", "a", 1),
        ("class", ["a", "A", "nobody"], 2),
        ("class", 3, 1),
        ("class", "%", 1),
        ("class", "a%", 0),
        ("class", "no\0body", 0),
        ("class", [], 0),
        ("class", np.array(["a", "b"]), 2),
        ("class", 3.5, 0),
        ("class_index", np.int64(0), 12),
        ("class_index", "0", 12),
        ("class_index", "zero", 0),
        ("class_index", 2**40, 0),
        ("size_requested", None, 1),
        ("size_requested", [None, 1, np.int32(2)], 3),
        ("created_ms", 1, 12),
        ("faithfulness", "much", 0),
    ],
)
def test_filters_find_the_same_everywhere(listed: list[Catalog], column: str, asked: Any, found: int) -> None:
    for catalog in listed:
        with catalog.reading() as connection:
            assert len(listing.circuits(connection, None, {column: asked})) == found


@pytest.mark.parametrize(
    ("column", "asked"),
    [
        ("class", "\ud800"),
        ("class_index", 2**70),
        ("created_ms", 2**63),
        ("faithfulness", float("nan")),
        ("faithfulness", 10**400),
    ],
)
def test_filters_that_no_column_can_hold_are_refused(listed: list[Catalog], column: str, asked: Any) -> None:
    for catalog in listed:
        with catalog.reading() as connection, pytest.raises(InputError, match=f"{column}: expected"):
            listing.circuits(connection, None, {column: asked})


def test_tables_are_alike_in_types_and_order(listed: list[Catalog]) -> None:
    frames = []
    for catalog in listed:
        with catalog.reading() as connection:
            frames.append(listing.circuits(connection, None, {}))
    assert list(frames[0]["class"]) == sorted(frames[0]["class"])
    pd.testing.assert_frame_equal(*frames)


@pytest.mark.parametrize("beginning", ["1", "11", "1" * 64, "a"])
def test_an_id_is_known_by_its_beginning(listed: list[Catalog], beginning: str) -> None:
    for catalog in listed:
        with catalog.reading() as connection:
            assert listing.resolve(connection, "circuit", beginning) == beginning[0] * 64


@pytest.mark.parametrize("beginning", ["%", "_", "1%", "A", "\0", "\ud800", "1" * 65])
def test_no_id_begins_so(listed: list[Catalog], beginning: str) -> None:
    for catalog in listed:
        with catalog.reading() as connection, pytest.raises(InputError, match="no circuit has an id that begins"):
            listing.resolve(connection, "circuit", beginning)


def test_several_ids_begin_so(listed: list[Catalog]) -> None:
    for catalog in listed:
        with catalog.reading() as connection, pytest.raises(InputError, match="several ids begin with"):
            listing.resolve(connection, "circuit", "")


# --- the lease: two want it, one has it --------------------------------------------------------------


def compete(url: str, together: Barrier, won: SimpleQueue[tuple[int, str]]) -> None:
    """Want the lease at the same moment as others, several times; the one that has it gives it back."""
    catalog, owner = writable(url), Owner.new().text
    for turn in range(TURNS):
        together.wait()
        with suppress(StoreBusy), catalog.writing() as connection:
            catalog_lease.claim(connection, owner, now_ms() + 60_000)
            won.put((turn, owner))
        together.wait()
        with catalog.writing() as connection:
            catalog_lease.release(connection, owner)


TURNS = 5


@pytest.mark.slow
def test_of_processes_that_want_the_lease_one_gets_it(url: str) -> None:
    with writable(url).writing() as connection:
        ledger.add_store(connection, "store")
    forking = multiprocessing.get_context("fork")
    barrier, won = forking.Barrier(3), forking.SimpleQueue()
    processes = [forking.Process(target=compete, args=(url, barrier, won)) for _ in range(3)]
    for process in processes:
        process.start()
    turns = [won.get() for _ in range(TURNS)]
    for process in processes:
        process.join(LONG_S)
        assert process.exitcode == 0
    assert [turn for turn, _ in turns] == list(range(TURNS)) and won.empty()


# --- SQLite's own ------------------------------------------------------------------------------------


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite"
    file.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
        Catalog(f"sqlite:///{file}", read_only=True).version()


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    reader = Catalog(f"sqlite:///{tmp_path / 'none.sqlite'}", read_only=True)
    with pytest.raises(StoreError, match="unable to open"):
        reader.version()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_can_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert Catalog(f"sqlite:///{file}", read_only=True).version() == tables.SCHEMA
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "nonsense", "oracle9://host/name", "mysql://host/name"]
)
def test_urls_that_are_no_catalogs(url: str) -> None:
    with pytest.raises(InputError, match="catalog: "):
        Catalog(url, read_only=True)


@pytest.mark.slow
def test_a_committed_transaction_outlives_everything(file: Path) -> None:
    with writable(f"sqlite:///{file}").writing() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
