from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from pathlib import Path

import circuitstore.migrations.catalog
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from circuitstore.errors import InputError, StoreBusy, StoreDamaged, StoreError, StoreVersion
from circuitstore.store import catalog as module
from circuitstore.store import ledger, tables
from circuitstore.store.catalog import Catalog
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("empty") / "catalog.sqlite"
    assert Catalog(f"sqlite:///{file}", read_only=False).upgrade() is None
    return file


@pytest.fixture
def file(tmp_path: Path, empty: Path) -> Path:
    return Path(shutil.copy(empty, tmp_path))


def writable(file: Path) -> Catalog:
    return Catalog(f"sqlite:///{file}", read_only=False)


def set_version(file: Path, version: str) -> None:
    with writable(file).writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_the_migrations_make_the_tables_of_the_code(file: Path) -> None:
    with writable(file).reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_code_is_of_the_last_revision_and_revisions_sort_by_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(circuitstore.migrations.catalog.__path__[0])))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    revisions = [r.revision for r in script.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True) and revisions[0] == tables.SCHEMA


def test_upgrading_again_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    assert writable(file).upgrade() == tables.SCHEMA
    assert file.read_bytes() == before


def test_a_newer_schema_names_both_versions(file: Path) -> None:
    set_version(file, "0999")
    for act in (writable(file).check_version, writable(file).upgrade):
        with pytest.raises(StoreVersion, match=rf"schema 0999.*reads {tables.SCHEMA}.*newer.*update circuitstore"):
            act()


def test_an_older_schema_names_the_command(file: Path) -> None:
    set_version(file, "0000")
    with pytest.raises(StoreVersion, match=rf"schema 0000.*reads {tables.SCHEMA}.*circuitstore migrate"):
        writable(file).check_version()


def test_something_elses_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "theirs.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (cake TEXT)")
    connection.close()
    with pytest.raises(StoreError, match=r"tables of something else \(recipes\)"):
        writable(file).upgrade()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite"
    file.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
        Catalog(f"sqlite:///{file}", read_only=True).version()


def test_a_reader_cannot_write(file: Path) -> None:
    reader = Catalog(f"sqlite:///{file}", read_only=True)
    with pytest.raises(StoreError, match="cannot be written"), reader.writing() as connection:
        connection.execute(sa.delete(tables.runs))


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    reader = Catalog(f"sqlite:///{tmp_path / 'none.sqlite'}", read_only=True)
    with pytest.raises(StoreError, match="unable to open"):
        reader.version()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_can_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert Catalog(f"sqlite:///{file}", read_only=True).version() == tables.SCHEMA
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_transaction_is_all_or_nothing(file: Path) -> None:
    catalog = writable(file)
    with pytest.raises(ZeroDivisionError), catalog.writing() as connection:
        connection.execute(sa.insert(tables.runs).values(name="r", spec="", created_ms=1, changed_ms=1))
        raise ZeroDivisionError
    with catalog.reading() as connection:
        assert connection.execute(sa.select(tables.runs)).all() == []


def test_references_are_enforced(file: Path) -> None:
    row = {"run": "no such run", "item": "no such item", "position": 0}
    with pytest.raises(IntegrityError), writable(file).writing() as connection:
        connection.execute(sa.insert(tables.run_items).values(**row))


def test_readers_read_while_a_writer_writes(file: Path) -> None:
    with writable(file).writing() as connection:
        connection.execute(sa.insert(tables.runs).values(name="r", spec="", created_ms=1, changed_ms=1))
        with Catalog(f"sqlite:///{file}", read_only=True).reading() as reader:
            assert reader.execute(sa.select(tables.runs)).all() == []


def test_a_locked_catalog_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_S", 0.1)
    with writable(file).writing(), pytest.raises(StoreBusy, match="locked"), writable(file).writing():
        pass


def test_writers_in_threads_wait_for_each_other(file: Path) -> None:
    catalog = writable(file)

    def add(name: str) -> None:
        with catalog.writing() as connection:
            connection.execute(sa.insert(tables.runs).values(name=name, spec="", created_ms=1, changed_ms=1))

    threads = [threading.Thread(target=add, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with catalog.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.runs)).scalar() == 8


def test_a_lease_is_looked_at_and_taken_by_one_at_a_time_on_servers() -> None:
    asked = {lock: str(ledger.lease_row(lock=lock).compile(dialect=postgresql.dialect())) for lock in (True, False)}
    assert asked[True].endswith("FOR UPDATE") and "FOR UPDATE" not in asked[False]


def test_no_connection_is_kept(file: Path) -> None:
    """A fork would share it; a server would count it."""
    for engine in (writable(file)._engine, module._server(sa.make_url("sqlite://"))):
        assert isinstance(engine.pool, NullPool)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "nonsense", "oracle9://host/name"])
def test_urls_that_are_no_catalogs(url: str) -> None:
    with pytest.raises(InputError, match="catalog: "):
        _ = Catalog(url, read_only=True).file
