"""Where temporary files of the tests are."""

import os
import shutil
import subprocess
import tempfile

import pytest

from . import in_memory


@pytest.fixture
def chosen(monkeypatch):
    """The folder for temporary files, after a choice in a process whose environment names none, or the one given."""

    def choose(memory, room, named=None):
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.delenv("TMPDIR", raising=False)
        if named:
            monkeypatch.setenv("TMPDIR", str(named))
        in_memory.use(memory, room)
        return tempfile.gettempdir(), os.environ.get("TMPDIR")

    return choose


def test_a_folder_with_room_is_used(chosen, tmp_path):
    assert chosen(tmp_path, 0) == (str(tmp_path), str(tmp_path))


def test_no_other_folder_is_used(chosen, tmp_path):
    usual = chosen(tmp_path / "missing", 0)
    assert usual[0] != str(tmp_path / "missing") and usual[1] is None
    assert chosen(tmp_path, 1 << 60) == usual


def test_the_environment_decides(chosen, tmp_path):
    (mine := tmp_path / "mine").mkdir()
    assert chosen(tmp_path, 0, named=mine) == (str(mine), str(mine))


def test_programs_can_be_run_there(tmp_path):
    assert in_memory.fits(tmp_path, 0)
    mount = ["mount", "-t", "tmpfs", "-o", "noexec,size=64k", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        assert not in_memory.fits(tmp_path, 0)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
