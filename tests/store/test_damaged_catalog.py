"""A catalog or a `store.json` that was damaged or lost is noticed, and `rebuild_store` makes it again."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from circuitstore.errors import CircuitStoreError, StoreBusy, StoreDamaged, StoreForeign
from circuitstore.store import create_store, ledger, open_store, rebuild_store, salvage, tables
from circuitstore.store.catalog import Catalog
from circuitstore.testing.factories import make_item

from .test_faults import COMMON, OF_ENGINE, Killable, Place

PAGE = 4096
SPEC = 'name = "run"'
FAILED = make_item(77)
LISTS = ("runs", "items", "circuits")
PASSED = ("catalog.", "archive.rename.", "archive.folder.", "graph.create.", "graph.nodes.", "graph.publish.")
"""How the names begin of points that a rebuild may pass."""

UNCHECKED = ["state", "error", "attempts", "changed_ms"]
"""What of an item only the catalog knows."""


@pytest.fixture(scope="module")
def sound(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two runs and a failure, its catalog in one file."""
    folder = Path(shutil.copytree(kept, tmp_path_factory.mktemp("sound") / "data"))
    with open_store(folder) as store, store.writer() as writer:
        writer.start_run("second", "second's spec", [FAILED])
        writer.lease_item(FAILED.id)
        writer.fail(FAILED.id, "its own reason")
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.fixture
def store_folder(sound: Path, folder: Path) -> Path:
    return Path(shutil.copytree(sound, folder))


def lists(folder: Path) -> dict[str, str]:
    """What a store lists, without what only its catalog knows, and what it answers to a query."""
    with open_store(folder) as store:
        found = {"runs": store.runs().drop(columns=["done", "failed", "wanted", "leased", "changed_ms"])}
        found |= {"items": store.items().drop(columns=UNCHECKED), "circuits": store.circuits()}
        found["graph"] = store.query("MATCH (c:Circuit) RETURN c.id AS id ORDER BY id").to_pandas()
        return {name: table.sort_index(axis=1).to_csv() for name, table in found.items()}


def failures(folder: Path) -> dict[str, str]:
    with open_store(folder) as store, store.catalog.reading() as connection:
        return ledger.failures(connection, "second")


def noticed(folder: Path) -> list[str]:
    """What is said about a damaged store when it is opened, listed, checked and written."""
    said: list[str] = []

    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except CircuitStoreError as error:
            said.append(str(error))

    def verify() -> None:
        with open_store(folder) as store:
            said.extend(f"{row['what']}; {row['remedy']}" for row in store.verify())

    def write() -> None:
        with create_store(folder) as store, store.writer():
            pass

    for act in (lambda: lists(folder), verify, write):
        attempt(act)
    return said


def flip(file: Path, place: int, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def places(file: Path, count: int, seed: int) -> Iterator[tuple[int, int]]:
    """Places of a file that holds something, and a bit of each."""
    content, chance = file.read_bytes(), random.Random(seed)
    used = [i for i, byte in enumerate(content) if byte] if len(content) > PAGE else range(len(content))
    yield from ((chance.choice(used), chance.randrange(8)) for _ in range(count))


def test_flipped_bits_of_the_catalog(sound: Path, tmp_path: Path) -> None:
    before, reason = lists(sound), failures(sound)
    said_of = 0
    for n, (place, bit) in enumerate(places(sound / "catalog.sqlite", 8, seed=10)):
        folder = Path(shutil.copytree(sound, tmp_path / str(n)))
        flip(folder / "catalog.sqlite", place, bit)
        said = noticed(folder)
        if said:
            said_of += 1
            assert any("circuitstore rebuild" in text for text in said), (place, bit, said)
        else:
            assert lists(folder) == before, (place, bit)
        rebuild_store(folder)
        assert lists(folder) == before, (place, bit, said)
        assert failures(folder) in (reason, {}) or set(failures(folder)) == set(reason), (place, bit)
        with open_store(folder) as store:
            assert len(store.verify()) == 0, (place, bit, said)
        shutil.rmtree(folder)
    assert said_of > 1


def test_flipped_bits_of_the_file_that_names_the_store(sound: Path, tmp_path: Path) -> None:
    before = lists(sound)
    for n, (place, bit) in enumerate(places(sound / "archive" / "store.json", 4, seed=11)):
        folder = Path(shutil.copytree(sound, tmp_path / str(n)))
        identity = (folder / "archive" / "store.json").read_bytes()
        flip(folder / "archive" / "store.json", place, bit)
        for act in (open_store, create_store):
            with pytest.raises(StoreDamaged, match=r"store\.json is damaged.*circuitstore rebuild"):
                act(folder)
        rebuild_store(folder)
        assert (folder / "archive" / "store.json").read_bytes() == identity
        assert lists(folder) == before and failures(folder) == {FAILED.id: "its own reason"}


@pytest.mark.parametrize("kept_by", ["runs", "catalog"])
def test_a_lost_file_that_names_the_store(store_folder: Path, kept_by: str) -> None:
    identity = store_folder / "archive" / "store.json"
    before = identity.read_bytes()
    identity.unlink()
    if kept_by == "catalog":
        shutil.rmtree(store_folder / "archive" / "runs")
    with pytest.raises(StoreDamaged, match=r"store\.json is missing.*circuitstore rebuild"):
        open_store(store_folder)
    rebuild_store(store_folder)
    assert identity.read_bytes() == before


def test_a_lost_catalog_comes_back_with_runs_and_specs(store_folder: Path) -> None:
    before = lists(store_folder)
    for file in store_folder.glob("catalog.sqlite*"):
        file.unlink()
    rebuild_store(store_folder)
    assert lists(store_folder) == before and failures(store_folder) == {}
    with open_store(store_folder) as store:
        assert dict(zip(store.runs()["run"], store.runs()["spec"], strict=True)) == {
            "run": SPEC,
            "second": "second's spec",
        }


def wipe(file: Path, first: int, last: int) -> None:
    """Overwrite pages."""
    content = bytearray(file.read_bytes())
    content[first * PAGE : last * PAGE] = b"\xa5" * len(content[first * PAGE : last * PAGE])
    file.write_bytes(content)


def page_of(file: Path, table: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()[0] - 1


def test_what_can_be_read_of_a_damaged_catalog_is_kept(store_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    before, file = lists(store_folder), store_folder / "catalog.sqlite"
    wipe(file, page := page_of(file, "circuits"), page + 1)
    damaged = file.read_bytes()
    with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
        lists(store_folder)
    rebuild_store(store_folder)
    assert lists(store_folder) == before and failures(store_folder) == {FAILED.id: "its own reason"}
    (kept,) = store_folder.glob(f"catalog.sqlite.*{salvage.ASIDE}/catalog.sqlite")
    assert kept.read_bytes() == damaged
    assert f"it is kept in {kept.parent}; not all rows of circuits could be read" in caplog.text


def test_what_is_lost_of_a_damaged_catalog_is_said(store_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    before, file = lists(store_folder), store_folder / "catalog.sqlite"
    wipe(file, page := page_of(file, "items"), page + 1)
    rebuild_store(store_folder)
    assert lists(store_folder) == before and failures(store_folder) == {}
    assert "not all rows of items" in caplog.text and "errors, number and time of attempts" in caplog.text


def test_a_catalog_of_nothing_but_noise_is_not_taken_for_ours(store_folder: Path) -> None:
    file = store_folder / "catalog.sqlite"
    file.write_bytes(random.Random(1).randbytes(3 * PAGE))
    before = file.read_bytes()
    with pytest.raises(StoreForeign, match="it was not changed"):
        rebuild_store(store_folder)
    assert file.read_bytes() == before


def test_a_damaged_catalog_without_an_archive_is_left_as_it_is(store_folder: Path) -> None:
    file = store_folder / "catalog.sqlite"
    wipe(file, page := page_of(file, "circuits"), page + 1)
    shutil.rmtree(store_folder / "archive")
    before = file.read_bytes()
    with pytest.raises(StoreDamaged, match="there is no archive"):
        rebuild_store(store_folder)
    assert file.read_bytes() == before


def test_a_damaged_catalog_is_not_replaced_under_a_writer(store_folder: Path) -> None:
    with open_store(store_folder) as store, store.writer():
        file = store_folder / "catalog.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("DELETE FROM store")  # it does not say any more of which store it is
            connection.commit()
        with pytest.raises(StoreBusy, match="is being written by"):
            rebuild_store(store_folder)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("INSERT INTO store VALUES (?, 1)", [store.id])
            connection.commit()


def test_rows_that_contradict_the_archive_are_made_again(store_folder: Path) -> None:
    before = lists(store_folder)
    with Catalog(f"sqlite:///{store_folder / 'catalog.sqlite'}", read_only=False).writing() as connection:
        connection.execute(sa.update(tables.runs).where(tables.runs.c.name == "run").values(spec="another"))
        connection.execute(sa.delete(tables.run_items).where(tables.run_items.c.run == "second"))
    with open_store(store_folder) as store:
        found = [(row["part"], row["kind"], row["id"], row["what"]) for row in store.verify()]
    assert found == [
        ("catalog", "altered row", "run", "spec of the run run: the archive's differ"),
        ("catalog", "altered row", "second", "items of the run second: the archive's differ"),
    ]
    rebuild_store(store_folder)
    assert lists(store_folder) == before


def test_run_files_are_checked_and_written_again(store_folder: Path) -> None:
    with open_store(store_folder) as store:
        first, second = (store.archive.path("run", id) for id in store.archive.ids("run"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    with open_store(store_folder) as store:
        found = {(row["kind"], "circuitstore rebuild" in row["remedy"]) for row in store.verify()}
        assert found == {("missing file", True), ("damaged file", True)}
    before = lists(store_folder)
    rebuild_store(store_folder)
    assert lists(store_folder) == before
    with open_store(store_folder) as store:
        assert len(store.verify()) == 0


def test_a_store_from_before_runs_were_kept_is_completed_by_its_next_writer(store_folder: Path) -> None:
    before, identity = lists(store_folder), store_folder / "archive" / "store.json"
    shutil.rmtree(store_folder / "archive" / "runs")
    sealed = json.loads(identity.read_text())
    identity.write_text(json.dumps({"store": sealed["store"], "format": sealed["format"]}))
    assert lists(store_folder) == before
    with open_store(store_folder) as store:
        assert {row["kind"] for row in store.verify()} == {"missing file"}
        with store.writer():
            pass
        assert len(store.verify()) == 0
    assert json.loads(identity.read_text()) == sealed


def test_a_deleted_run_does_not_come_back(store_folder: Path) -> None:
    with open_store(store_folder) as store, store.writer() as writer:
        writer.delete_run("second")
        assert len(list(store.archive.ids("run"))) == 1
    for file in store_folder.glob("catalog.sqlite*"):
        file.unlink()
    rebuild_store(store_folder)
    with open_store(store_folder) as store:
        assert list(store.runs()["run"]) == ["run"]


# --- killed on the way -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killable() -> Iterator[Killable]:
    process = Killable()
    yield process
    process.close()


def harm(folder: Path) -> None:
    file = folder / "catalog.sqlite"
    wipe(file, page := page_of(file, "circuits"), page + 1)
    flip(folder / "archive" / "store.json", 20, 1)


def test_a_rebuild_that_is_killed_is_finished_by_the_same_command(
    sound: Path, tmp_path: Path, killable: Killable
) -> None:
    before, passed = lists(sound), []
    for point in ("catalog.aside.finish", *(p for p in (*COMMON, *OF_ENGINE["ladybug"]) if p.startswith(PASSED))):
        folder = Path(shutil.copytree(sound, tmp_path / point))
        harm(folder)
        status = killable.work(Place(folder), point, task="rebuild")
        assert status in (0, -9), point
        if status:
            passed.append(point)
            assert killable.work(Place(folder), task="rebuild") == 0, point
        assert lists(folder) == before and failures(folder) == {FAILED.id: "its own reason"}, point
        with open_store(folder) as store:
            assert len(store.verify()) == 0, point
        shutil.rmtree(folder)
    assert {point.rpartition(".")[0] for point in passed} >= {
        "catalog.aside",
        "catalog.commit",
        "archive.rename",
        "graph.create",
    }


@pytest.mark.parametrize("time", range(1, 8))
def test_a_rebuild_that_is_killed_at_any_step(sound: Path, folder: Path, killable: Killable, time: int) -> None:
    before = lists(sound)
    shutil.copytree(sound, folder)
    harm(folder)
    point = "catalog.aside.between" if time < 4 else "catalog.commit.after"
    status = killable.work(Place(folder), f"{point}:{time}", task="rebuild")
    if status:
        for act in (open_store, create_store):
            with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
                act(folder)
        assert killable.work(Place(folder), task="rebuild") == 0
    assert lists(folder) == before and failures(folder) == {FAILED.id: "its own reason"}
