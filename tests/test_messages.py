"""What the command line says of stores that are busy, foreign, newer, or no stores; and that it says it once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from circuitstore.cli.commands import main
from circuitstore.cli.output import emit, noting
from circuitstore.results import Table
from circuitstore.store import create_store, open_store

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`circuitstore` with these arguments: exit code, and what it printed."""

    def command(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["circuitstore", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out + said.err

    return command


@pytest.fixture
def store(filled_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled_store / "circuitstore-data", tmp_path / "store"))


def test_a_second_writer_is_told_who_writes_and_how_to_wait(store: Path, run: Run) -> None:
    with open_store(store) as opened, opened.writer():
        code, said = run("gc", "--store", store)
    assert code == 2 and f" by process {os.getpid()} on " in said
    assert "--wait" in said and "space" not in said and "started" not in said


@pytest.mark.slow
def test_a_graph_of_another_store_is_called_so(store: Path, tmp_path: Path, run: Run) -> None:
    with create_store(tmp_path / "other") as other, other.writer():
        pass
    for name in ("graph.lbdb", "graph.lbdb.lock"):
        shutil.copy(tmp_path / "other" / name, store / name)
    code, said = run("verify", "--store", store, "--format", "csv")
    assert code == 1 and "foreign graph" in said and "move the file away" in said and "--graph" in said
    assert run("rebuild", "--store", store)[0] == 2
    (store / "graph.lbdb").unlink()
    assert run("rebuild", "--store", store)[0] == 0 and run("verify", "--store", store)[0] == 0


@pytest.mark.parametrize("command", [["status"], ["verify"], ["query", "MATCH (c:Circuit) RETURN c.id"]])
def test_a_file_is_no_store(tmp_path: Path, run: Run, command: list[str]) -> None:
    (tmp_path / "file").write_text("")
    code, said = run(*command, "--store", tmp_path / "file")
    assert code == 2 and "a store is a folder" in said and "backup" not in said


def test_the_doctor_sends_nobody_in_circles(store: Path, run: Run) -> None:
    with sqlite3.connect(store / "catalog.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    code, said = run("doctor", "--store", store)
    assert code == 1 and "update circuitstore" in said and "circuitstore verify" not in said


def test_what_the_writer_notices_is_noted_once(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "graph.lbdb").unlink()
    with noting():
        with open_store(store) as opened, opened.writer() as writer:
            notices = writer.notices
        emit(Table(pd.DataFrame({"n": [1]}), notices))
    assert notices and capsys.readouterr().err.splitlines() == [f"note: {notice}" for notice in notices]


def test_a_catalog_that_needs_more_than_is_installed_names_the_extra(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    code, said = run("status", "--store", tmp_path, "--catalog", "postgresql+psycopg://me@nowhere/circuits")
    assert code == 2 and 'pip install "circuitstore[postgres]"' in said
