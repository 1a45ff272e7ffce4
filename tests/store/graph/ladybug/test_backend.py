"""Tests of LadybugDB in addition to the contract: kills, damage, files of others, two writers."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import ladybug
import pytest
from circuitstore.errors import InputError, QueryFailed, StoreBusy, StoreDamaged, StoreError, StoreVersion
from circuitstore.store.graph import migrate_graph, open_graph, recreate_graph
from circuitstore.store.graph.ladybug.file import lock_of
from circuitstore.store.graph.ladybug.seal import seal_of
from circuitstore.store.graph.ladybug.snapshot import Snapshot
from circuitstore.store.interrupts import deferred
from circuitstore.store.locks import note_in
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, assert_holds, created
from circuitstore.testing.killing import killed_at

RECORDS = make_records(6)
TIMES = created(RECORDS)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "graph.lbdb"


def url(path: Path) -> str:
    return f"ladybug://{path}"


def opened(path: Path, **kwargs):
    return open_graph(url(path), store_id=STORE, **kwargs)


def filled(path: Path, count: int = 4) -> None:
    with opened(path) as graph:
        graph.put(RECORDS[:count], TIMES)


def raw(path: Path, *statements: str) -> None:
    """Run statements without the backend, as another program would."""
    database = ladybug.Database(path, max_db_size=1 << 36, buffer_pool_size=1 << 26)
    with database, ladybug.Connection(database) as connection:
        for statement in statements:
            connection.execute(statement)
    lock_of(path).unlink(missing_ok=True)


def set_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*-set-aside"))


@pytest.mark.parametrize("task", ["open", "clear"])
@pytest.mark.parametrize("point", ["graph.create.before", "graph.create.after"])
def test_killed_while_it_is_made_it_is_made_again(path, task, point):
    if task == "clear":
        filled(path)
    killed_at(point, task, url(path), STORE, 0)
    with opened(path) as graph:
        assert len(graph.present()) in (0, 4)
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)
    assert set_aside(path) == []


def test_killed_at_any_time_it_is_consistent(path):
    """A process that puts groups is killed at a random time; readers and writers then agree."""
    script = (
        "import sys\n"
        "from circuitstore.store.graph import open_graph\n"
        "from circuitstore.testing.factories import make_records\n"
        "records = make_records(150, n=12, n_layers=2, n_heads=2)\n"
        "with open_graph(sys.argv[1], store_id=sys.argv[2]) as graph:\n"
        "    print('ready', flush=True)\n"
        "    for start in range(0, 150, 3):\n"
        "        graph.put(records[start : start + 3], {r.id: 1 for r in records})\n"
    )
    records = make_records(150, n=12, n_layers=2, n_heads=2)
    rng = random.Random(0)
    for _ in range(3):
        command = [sys.executable, "-c", script, url(path), STORE]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.05, 0.6))
            process.kill()
        with opened(path, read_only=True) as reader:
            seen = reader.present()
        with opened(path) as graph:
            assert graph.present() == seen and graph.notices == ()
            graph.sweep()
            visible = [r for r in records if r.id in seen]
            assert_holds(graph, visible, {r.id: 1 for r in records})


def left_with_a_log(path: Path) -> Path:
    """Create a graph whose last circuits are only in the write-ahead log."""
    filled(path, 2)
    killed_at("graph.remove.after", "remove", url(path), STORE, 1)
    log = path.with_name(f"{path.name}.wal")
    assert log.stat().st_size > 100
    return log


@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_a_damaged_log_is_set_aside_and_the_valid_part_opened(path, damage):
    log = left_with_a_log(path)
    content = bytearray(log.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[-60:-30] = b"x" * 30
    log.write_bytes(content)
    with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
        opened(path, read_only=True)
    with opened(path) as graph:
        (notice,) = graph.notices
        (kept,) = set_aside(path)
        assert str(kept) in notice and (kept / log.name).read_bytes() == content
        assert_holds(graph, [r for r in RECORDS[:2] if r.id in graph.present()], TIMES)
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)
    with opened(path) as graph:
        assert graph.notices == ()


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "emptied"])
def test_a_damaged_file_is_set_aside_and_created_again(path, damage):
    filled(path)
    content = path.read_bytes()
    broken = {"truncated": content[: len(content) // 2], "overwritten": b"\0garbage" * 5000, "emptied": b""}[damage]
    path.write_bytes(broken)
    if damage != "emptied":
        with pytest.raises(StoreDamaged, match="circuitstore rebuild"):
            opened(path, read_only=True)
    with opened(path) as graph:
        if damage != "emptied":
            assert "damaged" in graph.notices[0]
            assert (set_aside(path)[0] / path.name).read_bytes() == broken
        assert graph.present() == {}
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)


@pytest.mark.parametrize("place", range(12))
def test_a_flipped_bit_is_detected_by_readers_and_repaired_by_a_writer(path, place):
    filled(path)
    content = bytearray(path.read_bytes())
    content[(2 * place + 1) * len(content) // 24] ^= 1 << place % 8
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"does not match its checksum.*circuitstore rebuild"):
        opened(path, read_only=True)
    with opened(path) as graph:
        (notice,) = graph.notices
        assert "does not match its checksum" in notice
        assert (set_aside(path)[0] / path.name).read_bytes() == content
        assert graph.present() == {}
        graph.put(RECORDS, TIMES)
    with opened(path, read_only=True) as graph:
        assert_holds(graph, RECORDS)


def test_a_file_that_is_being_written_has_no_checksum(path):
    filled(path)
    assert note_in(lock_of(path)) == seal_of(path)
    with opened(path) as graph:
        assert note_in(lock_of(path)).startswith("process ")
        graph.put(RECORDS, TIMES)
        with opened(path, read_only=True) as reader:
            assert_holds(reader, RECORDS)
    assert note_in(lock_of(path)) == seal_of(path)
    lock_of(path).write_text("\nsha256 cut")  # after a crash of the machine
    with opened(path, read_only=True) as reader:
        assert_holds(reader, RECORDS)


def test_a_killed_writer_leaves_no_checksum(path):
    filled(path)
    left_with_a_log(path)
    assert not note_in(lock_of(path)).startswith("sha256")
    with opened(path, read_only=True) as reader:
        assert reader.present()


def test_a_log_without_its_file_is_set_aside(path):
    left_with_a_log(path)
    path.unlink()
    with opened(path) as graph:
        assert graph.present() == {} and "is missing" in graph.notices[0]
    assert set_aside(path)


def test_a_missing_file_is_created_by_a_writer_and_raises_for_a_reader(path):
    with pytest.raises(StoreError, match=r"no graph at .*circuitstore rebuild"):
        opened(path, read_only=True)
    assert list(path.parent.iterdir()) == []
    with opened(path) as graph:
        assert graph.present() == {} and graph.notices == ()


def test_an_older_file_gets_further_circuits(path):
    filled(path, 3)
    yesterday = path.read_bytes()
    filled(path, 6)
    for file in path.parent.iterdir():
        file.unlink()
    path.write_bytes(yesterday)
    with opened(path) as graph:
        assert graph.present().keys() == {r.id for r in RECORDS[:3]}
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_of_others_raises_and_is_unchanged(tmp_path, read_only):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("not a database\n" * 500)
    database = tmp_path / "other.lbdb"
    raw(database, "CREATE NODE TABLE Person(name STRING, PRIMARY KEY (name))", "CREATE (:Person {name: 'Ada'})")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(StoreError, match="not a LadybugDB file"):
        opened(thesis, read_only=read_only)
    with pytest.raises(StoreError, match="not a graph of circuits"):
        opened(database, read_only=read_only)
    with pytest.raises(StoreError, match="is a folder"):
        opened(tmp_path, read_only=read_only)
    assert thesis.read_bytes() == before["thesis.txt"] and set_aside(database) == []
    with ladybug.Database(database, max_db_size=1 << 36, read_only=True) as again, ladybug.Connection(again) as c:
        assert c.execute("MATCH (p:Person) RETURN p.name").get_all() == [["Ada"]]  # pyright: ignore[reportAttributeAccessIssue]


def test_an_empty_database_can_be_used(path):
    raw(path)
    with opened(path) as graph:
        graph.put(RECORDS, TIMES)
        assert_holds(graph, RECORDS)


def test_a_file_of_another_engine_version_raises_and_can_be_recreated(path):
    filled(path)
    content = bytearray(path.read_bytes())
    content[4] = 99
    path.write_bytes(content)
    lock_of(path).unlink()
    for read_only in (False, True):
        with pytest.raises(StoreVersion, match=r"format 99.*format \d+.*circuitstore rebuild"):
            opened(path, read_only=read_only)
    assert path.read_bytes() == content
    with recreate_graph(url(path), store_id=STORE) as graph:
        assert graph.present() == {} and "set aside" in graph.notices[0]
    assert (set_aside(path)[0] / path.name).read_bytes() == content


def test_a_newer_schema_raises_and_can_be_recreated(path):
    filled(path)
    raw(path, "CREATE (:Migration {version: 99, name: 'from_the_future', checksum: 'x'})")
    for read_only in (False, True):
        with pytest.raises(StoreVersion, match=r"version 99.*versions up to \d+.*circuitstore rebuild"):
            opened(path, read_only=read_only)
    with pytest.raises(StoreVersion):
        migrate_graph(url(path), store_id=STORE)
    with pytest.raises(StoreError, match="belongs to store"):
        recreate_graph(url(path), store_id="another")
    with recreate_graph(url(path), store_id=STORE) as graph:
        assert graph.present() == {}


def test_a_current_graph_needs_no_migration(path):
    filled(path)
    assert migrate_graph(url(path), store_id=STORE) == ()
    with recreate_graph(url(path), store_id=STORE) as graph:
        assert graph.present() == {} and graph.notices == ()


def test_a_second_writer_raises_with_the_name_of_the_first(path):
    attempt = (
        "import sys\n"
        "from circuitstore.errors import StoreBusy\n"
        "from circuitstore.store.graph import open_graph\n"
        "try:\n"
        "    open_graph(sys.argv[1], store_id=sys.argv[2])\n"
        "except StoreBusy as error:\n"
        "    print(error)\n"
    )
    with opened(path) as graph:
        with pytest.raises(StoreBusy, match=f"process {os.getpid()}"):
            opened(path)
        opened(path, read_only=True).close()  # which drops the engine's own lock
        command = [sys.executable, "-c", attempt, url(path), STORE]
        other = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f"open for writing by process {os.getpid()}" in other.stdout
        graph.put(RECORDS, TIMES)
    with opened(path) as graph:
        assert_holds(graph, RECORDS)


def test_another_programs_lock_is_respected(path):
    filled(path)
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import ladybug, sys, time\n"
            "database = ladybug.Database(sys.argv[1], max_db_size=1 << 36, buffer_pool_size=1 << 26)\n"
            "connection = ladybug.Connection(database)\n"
            "print('ready', flush=True)\n"
            "time.sleep(3600)\n",
            str(path),
        ],
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreBusy, match=f"process {other.pid}"):
            opened(path)
        other.send_signal(signal.SIGKILL)


def test_a_folder_that_cannot_be_written_raises():
    with pytest.raises(StoreError, match="cannot write"):
        opened(Path("/proc/nowhere/graph.lbdb"))


@pytest.mark.parametrize("bad", ["ladybug://relative/graph.lbdb", "ladybug:graph.lbdb", "ladybu:///x", "graph.lbdb"])
def test_a_url_that_names_no_graph_is_refused(bad):
    with pytest.raises(InputError, match="graph"):
        open_graph(bad, store_id=STORE)


@pytest.mark.parametrize(
    "error", [QueryFailed("in our words"), InputError("no such circuit"), RuntimeError(), IndexError()]
)
def test_an_error_over_a_file_that_changes_meanwhile_does_not_count(path, error):
    filled(path)
    snapshot = Snapshot(path)
    asked = []

    def query(connection: ladybug.Connection) -> str:
        asked.append(connection)
        if len(asked) == 1:
            os.utime(path)  # as a writer's checkpoint does
            raise error
        return "answered"

    def refuse(connection: ladybug.Connection) -> str:
        raise error

    assert snapshot.read(query) == "answered"
    with pytest.raises(type(error)):  # the file did not change, so the error is the query's
        snapshot.read(refuse)
    snapshot.close()


def test_a_reader_that_waits_for_a_writer_may_be_interrupted(path):
    filled(path)
    snapshot = Snapshot(path)
    asked = []

    def query(connection: ladybug.Connection) -> None:
        asked.append(connection)
        os.utime(path)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), deferred():
        snapshot.read(query)
    assert len(asked) == 1
    snapshot.close()
