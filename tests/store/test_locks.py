from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from circuitstore.errors import StoreError
from circuitstore.store import locks
from circuitstore.store.locks import Lock, is_held, note_in
from circuitstore.testing.graph_place import in_a_fork

HOLD = """
import sys
from pathlib import Path
from circuitstore.store.locks import Lock
lock = Lock.take(Path(sys.argv[1]))
lock.write("of another process")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.lock"


def test_one_handle_holds_it_until_it_is_released(path: Path) -> None:
    assert not is_held(path) and note_in(path) == ""
    lock = Lock.take(path)
    assert lock and Lock.take(path) is None and is_held(path)
    lock.write("a long note")
    lock.write("note")
    assert note_in(path) == "note"
    lock.release()
    assert not is_held(path) and note_in(path) == "note"
    again = Lock.take(path)
    assert again and note_in(path) == "note"
    again.release()


@pytest.mark.slow
def test_it_is_gone_when_its_process_is_killed_and_its_note_stays(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert is_held(path) and Lock.take(path) is None
        other.send_signal(signal.SIGKILL)
    assert not is_held(path) and note_in(path) == "of another process"


def test_a_forked_child_neither_holds_nor_releases_it(path: Path) -> None:
    lock = Lock.take(path)
    assert lock

    def child() -> None:
        assert is_held(path)
        with pytest.raises(OSError, match="Bad file descriptor"):
            lock.write("of the child")

    in_a_fork(child)
    assert is_held(path)
    lock.release()
    assert not is_held(path)


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(StoreError, match="cannot write /proc/nowhere"):
        Lock.take(Path("/proc/nowhere/file.lock"))


def test_a_file_system_without_locks_raises(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "lock_descriptor", refuse)
    with pytest.raises(StoreError, match=r"cannot be locked.*choose another place"):
        Lock.take(path)
