"""Export of results: files are written completely or not at all, with exact values."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore.errors import InputError
from circuitstore.results import Table, write_whole


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_written_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "answer.txt"
    write_whole(path, "naïve ☃\n")
    assert path.read_bytes() == "naïve ☃\n".encode()
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["answer.txt"]


def test_characters_without_an_encoding_are_escaped(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "x\udc80y")
    assert (tmp_path / "a").read_text() == "x\\udc80y"


LIMITED = """
import resource, sys
from circuitstore.errors import InputError
from circuitstore.results import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # larger files fail, as on a full disk
try:
    write_whole(sys.argv[1], b"x" * 100_000)
except InputError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "answer.csv"
    for before in (None, b"good"):
        if before is not None:
            path.write_bytes(before)
        done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "answer.csv: cannot write (File too large); free some space" in done.stdout
        assert names(tmp_path) == ([] if before is None else ["answer.csv"])
    assert path.read_bytes() == b"good"


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "answer.csv"
    path.write_text("good")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert path.read_text() == "good"
    assert names(tmp_path) == ["answer.csv"]


def test_a_link_stays_a_link_and_permissions_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    write_whole(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_device_is_written_directly() -> None:
    write_whole(os.devnull, "text")
    assert not Path(os.devnull).is_file()
    with pytest.raises(InputError, match=r"/dev/full: cannot write \(No space left on device\); free some space"):
        write_whole("/dev/full", "text")


def test_a_path_that_cannot_be_written_raises_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "x.csv", tmp_path):
        with pytest.raises(InputError, match="cannot write") as caught:
            write_whole(path, "text")
        assert str(path) in str(caught.value)
    assert names(tmp_path) == []


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write to every file
    with pytest.raises(InputError, match="Permission denied"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_column_names_are_unique() -> None:
    with pytest.raises(InputError, match=r"several columns are named 'a'.*AS"):
        Table(pd.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.parametrize("values", [[1, "a"], [[1, "a"]], [{}], [2**70], ["\ud800"], [{1: 2}], [[], {}]], ids=repr)
def test_values_that_parquet_cannot_store_raise_an_error(values: list[object], tmp_path: Path) -> None:
    frame = pd.DataFrame({"fine": [1] * len(values), "bad": pd.Series(values, dtype=object)})
    with pytest.raises(InputError, match=r"Parquet cannot store column 'bad'.*CSV or JSON"):
        Table(frame).to_parquet(tmp_path / "x.parquet")
    assert names(tmp_path) == []


def test_parquet_keeps_every_digit(tmp_path: Path) -> None:
    numbers = [1.25e-12, 5e-324, 1e300, 0.1 + 0.2, -0.0, np.inf]
    frame = pd.DataFrame({"x": numbers, "n": [2**63 - 1] * 6, "v": [[n] for n in numbers]})
    Table(frame).to_parquet(tmp_path / "x.parquet")
    back = pd.read_parquet(tmp_path / "x.parquet")
    assert [x.hex() for x in back["x"]] == [x.hex() for x in numbers]
    assert list(back["n"]) == list(frame["n"])
    assert [float(v[0]).hex() for v in back["v"]] == [x.hex() for x in numbers]
