from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from circuitstore.errors import StoreError
from circuitstore.store import files


def test_a_file_appears_whole_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    files.write_atomic(path, b"content")
    assert path.read_bytes() == b"content"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=r"cannot write .*a/b.* a store is a folder"):
        files.write_atomic(tmp_path / "a" / "b", b"content")


@pytest.mark.slow
def test_a_file_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from circuitstore.errors import StoreError
from circuitstore.store import files
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_atomic(Path(sys.argv[1]), b"x" * 5000)
except StoreError as error:
    print(error)
"""
    path = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "no room" in done.stdout and str(path) in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_renaming_keeps_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert files.rename(tmp_path / "a", tmp_path / "b").read_bytes() == b"content"
    with pytest.raises(StoreError, match="cannot write"):
        files.rename(tmp_path / "a", tmp_path / "c")


def test_removing_twice_is_as_good_as_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    files.remove(tmp_path / "a")
    files.remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_is_writing_is_unchanged(tmp_path: Path) -> None:
    """Two machines may write the same file: each under its own name."""
    for name in ("file.tmp", f"file.1-1{files.TEMPORARY}"):
        (tmp_path / name).write_bytes(b"half of")
    files.write_atomic(tmp_path / "file", b"content")
    assert sorted(p.read_bytes() for p in tmp_path.iterdir()) == [b"content", b"half of", b"half of"]
