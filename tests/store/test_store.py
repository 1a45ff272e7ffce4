from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.errors import InputError, QueryRefused, StoreBusy, StoreDamaged, StoreError, StoreVersion
from circuitstore.store import Location, catalog_lease, create_store, migrate_store, open_store, rebuild_store
from circuitstore.store.catalog import Catalog
from circuitstore.store.lease import Owner, now_ms

COUNT = "MATCH (c:Circuit) RETURN count(c) AS n"


def files(folder: Path) -> dict[str, bytes]:
    """Content of a store's files; the index of SQLite's log is no content."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(("-shm", "-wal", ".lock")))
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    for act in (open_store, migrate_store, rebuild_store):
        with pytest.raises(StoreError, match=r"no store at .*none.*circuitstore index SPEC.toml"):
            act(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with create_store() as store:
        assert store.location.folder == tmp_path / "circuitstore-data"
    assert Location.of(graph="bolt://host", catalog="sqlite:///c").graph == "bolt://host"
    with pytest.raises(InputError, match=r"expected a folder, got a URL of bolt.*--graph"):
        open_store("bolt://me:secret@host")


def test_making_a_store_twice_gives_the_same_store(folder: Path) -> None:
    with create_store(folder) as first, create_store(folder) as second, open_store(folder) as third:
        assert first.id == second.id == third.id
        assert list(first.runs().columns[:3]) == ["run", "items", "done"] and len(first.circuits()) == 0


def test_reading_changes_nothing(filled: Path, world: Any) -> None:
    before = files(filled)
    with open_store(filled) as store:
        store.runs(), store.items(), store.circuits(), store.verify()  # pyright: ignore[reportUnusedExpression]
        store.circuit(world.records[0].id), store.members([world.records[0].id])  # pyright: ignore[reportUnusedExpression]
        assert list(store.query(COUNT)) == [{"n": len(world.records)}]
    assert files(filled) == before


def test_tables_of_what_is_there(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        [run] = store.runs().to_dict("records")
        assert (run["run"], run["spec"], run["items"], run["done"]) == ("run", 'name = "run"', 3, 3)
        assert (run["circuits"], run["circuits_wanted"]) == (6, 6)
        assert list(store.items("run")["id"]) == [i.id for i in world.items]
        assert set(store.items(state="done")["attempts"]) == {1} and len(store.items(state="failed")) == 0
        table = store.circuits()
        properties = {r.id: r.properties() for r in world.records}
        for row in table.to_dict("records"):
            expected = properties[row["id"]]
            assert {k: row[k] for k in expected} == expected
        assert list(table["class_index"]) == sorted(table["class_index"])


def test_circuits_are_chosen_by_their_properties(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        chosen = store.circuits("run", class_index=[0, 2], **{"class": ["class-0", "class-1"]})
        assert set(chosen["id"]) == {r.id for r in world.records if r.item.target_class.class_index == 0}
        with pytest.raises(InputError, match=r"unknown column of circuits 'clas'; did you mean 'class'"):
            store.circuits(clas="3")
        with pytest.raises(InputError, match=r"unknown run 'rum'; did you mean 'run'"):
            store.circuits("rum")
        with pytest.raises(InputError, match="unknown state 'finished'"):
            store.items(state="finished")


def test_a_circuit_comes_with_the_scores_of_all_edges(filled: Path, world: Any) -> None:
    record = world.records[3]
    [discovery] = [d for d in world.discoveries if d.id == record.discovery_id]
    with open_store(filled) as store:
        there = store.circuit(record.id[:12])
        assert (there.id, there.sha256) == (record.id, record.sha256)
        assert np.array_equal(there.circuit.score, discovery.scores.mean)
        assert np.array_equal(there.circuit.std, discovery.scores.std)
        assert there.circuit.to_pandas().equals(record.circuit.to_pandas())
        assert store.discovery(discovery.id[:12]).sha256 == discovery.sha256
        assert np.array_equal(store.scores([discovery.id])[0], discovery.scores.mean)
        assert np.array_equal(store.members([record.id])[0], record.circuit.members)


def test_ids_that_name_none_or_several(filled: Path) -> None:
    with open_store(filled) as store:
        with pytest.raises(InputError, match="no circuit has an id that begins with 'zz'"):
            store.circuit("zz")
        with pytest.raises(InputError, match="several ids begin with ''"):
            store.circuit("")
        with pytest.raises(InputError, match="no discovery has"):
            store.discovery("%")


def test_queries_only_read(filled: Path) -> None:
    with open_store(filled) as store, pytest.raises(QueryRefused):
        store.query("MATCH (c:Circuit) DETACH DELETE c")


@pytest.mark.slow
def test_a_lost_catalog_is_named_and_created_again(filled: Path, world: Any) -> None:
    for file in filled.glob("catalog.sqlite*"):
        file.unlink()
    before = files(filled)
    for act in (open_store, create_store):
        with pytest.raises(StoreDamaged, match=r"catalog .* is missing.*circuitstore rebuild"):
            act(filled)
    assert files(filled) == before
    Catalog(f"sqlite:///{filled / 'catalog.sqlite'}", read_only=False).upgrade()  # a rebuild that was killed
    with pytest.raises(StoreDamaged, match=r"catalog .* empty.*circuitstore rebuild"):
        create_store(filled)
    counts = dict(rebuild_store(filled).to_pandas().itertuples(index=False))
    assert counts["discoveries added from the archive"] == 3 and counts["circuits in the graph"] == 6
    with open_store(filled) as store:
        assert len(store.verify()) == 0
        assert list(store.runs()["run"]) == ["run"]
        assert set(store.circuits()["id"]) == {r.id for r in world.records}


def test_a_lost_archive_is_named(filled: Path) -> None:
    shutil.rmtree(filled / "archive")
    for act in (open_store, create_store, rebuild_store):
        with pytest.raises(StoreDamaged, match=r"lists values of the archive.*--store FOLDER"):
            act(filled)


def test_parts_of_two_stores_are_refused(filled: Path, tmp_path: Path) -> None:
    with create_store(tmp_path / "other") as other:
        catalog, graph = f"sqlite:///{tmp_path / 'other' / 'catalog.sqlite'}", other.location.graph
        with other.writer():
            pass
    with pytest.raises(StoreError, match=r"catalog .* belongs to store .*, archive .* to store"):
        open_store(filled, catalog=catalog)
    with open_store(filled, graph=graph) as store, pytest.raises(StoreError, match="belongs to store"):
        store.query(COUNT)
    with open_store(filled, graph=graph) as store, pytest.raises(StoreError, match="belongs to store"), store.writer():
        pass


def test_a_lost_graph_leaves_the_rest_readable(filled: Path, world: Any) -> None:
    (filled / "graph.lbdb").unlink()
    with open_store(filled) as store:
        assert len(store.circuits()) == len(world.records)
        with pytest.raises(StoreError):
            store.query(COUNT)


def test_a_store_from_a_newer_version(filled: Path) -> None:
    import sqlalchemy as sa

    with Catalog(f"sqlite:///{filled / 'catalog.sqlite'}", read_only=False).writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    for act in (open_store, create_store, migrate_store, rebuild_store):
        with pytest.raises(StoreVersion, match=r"schema 0999.*newer"):
            act(filled)


def test_migrating_what_is_up_to_date(filled: Path) -> None:
    assert list(migrate_store(filled).to_pandas()["what"]) == ["up to date", "up to date"]


def test_migrating_waits_for_the_writer(filled: Path) -> None:
    owner = replace(Owner.new(), host="elsewhere").text
    database = Catalog(f"sqlite:///{filled / 'catalog.sqlite'}", read_only=False)
    with database.writing() as connection:
        catalog_lease.claim(connection, owner, now_ms() + 60_000)
    with pytest.raises(StoreBusy, match="on host elsewhere"):
        migrate_store(filled)
    with database.writing() as connection:
        catalog_lease.release(connection, owner)
    assert len(migrate_store(filled)) == 2
    with open_store(filled) as store, store.writer():
        pass


@pytest.mark.slow
def test_a_lost_graph_is_filled_once(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    (filled / "graph.lbdb").unlink()
    rebuild_store(filled)
    assert "lacked" not in caplog.text
    with open_store(filled) as store:
        assert len(store.verify()) == 0


@pytest.mark.parametrize("name", ["a ? b", "a#b", "100%", "a%20b", "[a]*"])
def test_a_folder_may_have_any_name(tmp_path: Path, world: Any, name: str) -> None:
    folder = tmp_path / name / "data"
    with create_store(folder) as store, store.writer() as writer:
        writer.put(world.discoveries[0], run="run")
        writer.put(world.records[0], run="run")
    assert {p.name for p in tmp_path.iterdir()} == {name} and (folder / "catalog.sqlite").is_file()
    with open_store(folder) as store:
        assert list(store.query(COUNT)) == [{"n": 1}]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*a store is a folder.*--store FOLDER"):
        create_store(tmp_path / "file" / "data")


def test_a_forked_process_reads_on(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        store.query(COUNT)
        child = os.fork()
        if child == 0:
            found = list(store.query(COUNT)) == [{"n": len(world.records)}] and len(store.circuits()) == 6
            os._exit(0 if found else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(store.query(COUNT)) == 1


def test_a_run_changed_when_its_last_item_did(filled: Path, world: Any) -> None:
    catalog = filled / "catalog.sqlite"
    with closing(sqlite3.connect(catalog, isolation_level=None)) as connection:
        connection.execute("UPDATE runs SET changed_ms = 1000")
        connection.execute("UPDATE items SET changed_ms = 1001")
        connection.execute("UPDATE items SET changed_ms = 5000 WHERE id = ?", [world.items[0].id])
    with open_store(filled) as store:
        assert list(store.runs()["changed_ms"]) == [5000]
    with closing(sqlite3.connect(catalog, isolation_level=None)) as connection:
        connection.execute("UPDATE runs SET changed_ms = 6000")
    with open_store(filled) as store:
        assert list(store.runs()["changed_ms"]) == [6000]
