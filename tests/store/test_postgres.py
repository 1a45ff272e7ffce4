"""What a server does to a catalog that a file does not: accounts, rights, dropped connections, crashes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from circuitstore.cli.settings import Settings
from circuitstore.errors import InputError, StoreBusy, StoreDamaged, StoreError, StoreUnreachable
from circuitstore.store import catalog as module
from circuitstore.store import create_store, ledger, open_store, postgres, tables
from circuitstore.store.catalog import Catalog

from ..neo4j_server import free_port
from ..postgres_server import OwnServer, PostgresServer


@pytest.fixture
def url(postgres_url: str) -> str:
    Catalog(postgres_url, read_only=False).upgrade()
    return postgres_url


@pytest.fixture
def own_server(postgres_server: PostgresServer) -> OwnServer:
    """A server that may be killed."""
    if not isinstance(postgres_server, OwnServer):
        pytest.skip("the server that CIRCUITSTORE_TEST_POSTGRES names is not ours to kill")
    return postgres_server


def add_run(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.insert(tables.runs).values(name=name, spec="", created_ms=1, changed_ms=1))


def runs(url: str) -> list[str]:
    with Catalog(url, read_only=True).reading() as connection:
        return ledger.run_names(connection)


def altered(url: str, **changes: Any) -> str:
    return sa.make_url(url).set(**changes).render_as_string(hide_password=False)


# --- accounts and passwords --------------------------------------------------------------------------


def test_a_wrong_password_is_reported_and_not_shown(url: str) -> None:
    with pytest.raises(StoreError, match="PGPASSWORD") as caught:
        Catalog(altered(url, password="wr0ng"), read_only=True).version()
    assert "wr0ng" not in str(caught.value) and "***" in str(caught.value)


def test_no_password(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match=r"no password supplied.*PGPASSWORD.*pgpass"):
        Catalog(url, read_only=True).version()


def test_a_password_may_be_in_a_file(
    url: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pgpass"
    file.write_text(f"*:*:*:*:{postgres_server.password}\n")
    file.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert runs(url) == []


def test_a_missing_database_is_reported(url: str) -> None:
    with pytest.raises(StoreError, match=r"does not exist.*createdb"):
        Catalog(altered(url, database="none"), read_only=True).version()


def test_a_server_that_does_not_answer(url: str) -> None:
    with pytest.raises(StoreUnreachable, match="check that the server runs"):
        Catalog(altered(url, port=free_port()), read_only=True).version()


def test_a_password_in_the_url_is_shown_nowhere(
    folder: Path,
    postgres_url: str,
    postgres_server: PostgresServer,
    world: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    caplog.set_level(logging.DEBUG)
    url, secret = altered(postgres_url, password=postgres_server.password), postgres_server.password
    with create_store(folder, catalog=url) as store, store.writer() as writer:
        world.fill(writer)
        seen = [repr(store), repr(store.location), repr(store.catalog.url), repr(vars(store.catalog)), caplog.text]
        seen += [writer.owner, str(store.query("MATCH (s:Store) RETURN s.id, s.lease_owner").to_pandas())]
    seen.append(repr(Settings(catalog=url)))
    with store.catalog.reading() as connection:
        for table in tables.metadata.sorted_tables:
            seen += [repr(row) for row in connection.execute(sa.select(table))]
    assert not [text for text in seen if secret in text]
    assert not [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret@host:port/name",
        "postgresql+psycopg://me:pass@s3cret:x@host/name",
        "postgresql+psycopg://host/name?password=s3cret",
        "postgresql+psycopg://host/name?sslpassword=s3cret",
        "postgresql+asyncpg://me:s3cret@host/name",
        "me:s3cret@host/name",
    ],
)
def test_urls_that_cannot_be_used_are_refused_without_their_secret(url: str) -> None:
    with pytest.raises(InputError, match="catalog: ") as caught:
        Catalog(url, read_only=True)
    assert "s3cret" not in str(caught.value) and caught.value.__cause__ is None


def test_what_follows_the_question_mark_is_held_to_be_known(url: str) -> None:
    with pytest.raises(InputError, match="question mark"):
        Catalog(f"{url}?colour=red", read_only=True).version()


def test_the_driver_need_not_be_named(url: str) -> None:
    assert runs(url.replace("+psycopg", "")) == []


def test_one_database_may_hold_several_catalogs_in_schemas(url: str, postgres_server: PostgresServer) -> None:
    postgres_server.ask("CREATE SCHEMA second", database=sa.make_url(url).database)
    other = f"{url}?options=-csearch_path%3Dsecond"
    assert Catalog(other, read_only=False).upgrade() is None
    with Catalog(other, read_only=False).writing() as connection:
        add_run(connection, "r")
    assert runs(other) == ["r"] and runs(url) == []


@pytest.fixture
def reader_url(url: str, postgres_server: PostgresServer) -> Iterator[str]:
    """The catalog, for an account that may only read."""
    database = sa.make_url(url).database
    name = f"{database}_reader"
    postgres_server.ask(f"CREATE ROLE {name} LOGIN PASSWORD 'reads'")
    postgres_server.ask(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}", database=database)
    yield altered(url, username=name, password="reads")
    postgres_server.ask(f"DROP OWNED BY {name}", database=database)
    postgres_server.ask(f"DROP ROLE {name}")


def test_an_account_that_may_only_read_reads(reader_url: str) -> None:
    catalog = Catalog(reader_url, read_only=False)
    assert runs(reader_url) == [] and catalog.version() == tables.SCHEMA
    with pytest.raises(StoreError, match=r"permission denied.*grant"), catalog.writing() as connection:
        add_run(connection, "r")


def test_a_database_that_cannot_hold_every_text_is_refused(postgres_server: PostgresServer) -> None:
    with (
        postgres_server.database("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'") as url,
        pytest.raises(StoreError, match=r"encoding UTF8.*got SQL_ASCII.*createdb --encoding=UTF8"),
    ):
        Catalog(url, read_only=False).upgrade()


def test_a_lost_table_is_damage(url: str, postgres_server: PostgresServer) -> None:
    postgres_server.ask("DROP TABLE runs CASCADE", database=sa.make_url(url).database)
    with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
        runs(url)


# --- connections that end ----------------------------------------------------------------------------


def test_a_connection_dropped_in_a_transaction_leaves_nothing_and_is_reported(
    url: str, postgres_server: PostgresServer
) -> None:
    catalog = Catalog(url, read_only=False)
    with pytest.raises(StoreUnreachable, match="run the same command again"), catalog.writing() as connection:
        add_run(connection, "lost")
        assert postgres_server.drop_connections(url) == 1
        add_run(connection, "never")
    with catalog.writing() as connection:
        add_run(connection, "kept")
    assert runs(url) == ["kept"]


def test_a_commit_on_a_dropped_connection_is_none(url: str, postgres_server: PostgresServer) -> None:
    with pytest.raises(StoreUnreachable), Catalog(url, read_only=False).writing() as connection:
        add_run(connection, "lost")
        postgres_server.drop_connections(url)
    assert runs(url) == []


def test_a_stopped_process_does_not_keep_others_waiting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SILENT_S", 0.2)
    with (
        pytest.raises(StoreUnreachable, match="suspended for too long"),
        Catalog(url, read_only=False).writing() as connection,
    ):
        add_run(connection, "lost")
        with Catalog(url, read_only=False).writing() as other:  # waits until the server has ended the first
            add_run(other, "kept")
    assert runs(url) == ["kept"]


def test_a_commit_is_on_disk_even_where_the_server_need_not(url: str, postgres_server: PostgresServer) -> None:
    name = sa.make_url(url).database
    postgres_server.ask(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with Catalog(url, read_only=False).writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_what_was_committed_outlives_a_crash_of_the_server(url: str, own_server: OwnServer) -> None:
    catalog = Catalog(url, read_only=False)
    with pytest.raises(StoreUnreachable), catalog.writing() as connection:
        add_run(connection, "lost")
        own_server.kill()
    own_server.start()
    assert runs(url) == []
    with catalog.writing() as connection:
        add_run(connection, "kept")
    own_server.kill()
    own_server.start()
    assert runs(url) == ["kept"]


def test_a_server_that_starts_again_is_waited_for(url: str, own_server: OwnServer, folder: Path, world: Any) -> None:
    with create_store(folder, catalog=url) as store, store.writer() as writer:
        world.start(writer)
        own_server.kill()
        starting = threading.Thread(target=own_server.start)
        starting.start()
        world.fill(writer)
        starting.join()
    with open_store(folder, catalog=url) as store:
        assert len(store.verify()) == 0 and len(store.circuits()) == len(world.records)


def test_a_server_that_stays_away_ends_the_run_which_then_goes_on(
    url: str, own_server: OwnServer, folder: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETURN_S", 0.5)
    with (
        pytest.raises(StoreUnreachable, match="run the same command again"),
        create_store(folder, catalog=url) as store,
        store.writer() as writer,
    ):
        world.start(writer)
        writer.put(world.discoveries[0], run="run")
        own_server.stop()
        world.fill(writer)
    own_server.start()
    with create_store(folder, catalog=url) as store:
        with store.writer() as writer:
            world.fill(writer)
        assert len(store.verify()) == 0 and len(store.circuits()) == len(world.records)


def test_an_empty_database_with_a_full_archive_is_a_lost_catalog(
    folder: Path, url: str, postgres_server: PostgresServer, world: Any
) -> None:
    with create_store(folder, catalog=url) as store, store.writer() as writer:
        world.fill(writer)
    with postgres_server.database() as empty:
        for open in (open_store, create_store):
            with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
                open(folder, catalog=empty)


def test_a_second_writer_is_refused(folder: Path, url: str) -> None:
    with create_store(folder, catalog=url) as store, store.writer(), open_store(folder, catalog=url) as second:
        busy = pytest.raises(StoreBusy, match="the store is being written by process")
        with busy, second.writer():
            pass


def test_a_run_is_shared_deleted_and_collected(folder: Path, url: str, world: Any) -> None:
    with create_store(folder, catalog=url) as store, store.writer() as writer:
        world.fill(writer)
        world.fill(writer, "second")
        writer.delete_run("run")
        assert writer.gc().to_pandas()["count"].sum() == 0 and len(store.circuits("second")) == len(world.records)
        writer.delete_run("second")
        writer.gc()
        assert len(store.circuits()) == len(store.items()) == len(store.runs()) == len(store.verify()) == 0
