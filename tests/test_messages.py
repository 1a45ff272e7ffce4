"""Messages of the command line about stores that are busy, foreign, newer, or not stores; each is printed once."""

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
from circuitstore.cli.output import emit, logging_to_stderr
from circuitstore.results import Table
from circuitstore.store import create_store, open_store

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `circuitstore` with these arguments; returns its exit code and output."""

    def command(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["circuitstore", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out + printed.err

    return command


@pytest.fixture
def store(filled_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled_store / "circuitstore-data", tmp_path / "store"))


def test_a_second_writer_gets_the_process_that_writes_and_how_to_wait(store: Path, run: Run) -> None:
    with open_store(store) as opened, opened.writer():
        code, printed = run("gc", "--store", store)
    assert code == 2 and f" by process {os.getpid()} on " in printed
    assert "--wait" in printed and "space" not in printed and "started" not in printed


@pytest.mark.slow
def test_a_graph_of_another_store_is_reported(store: Path, tmp_path: Path, run: Run) -> None:
    with create_store(tmp_path / "other") as other, other.writer():
        pass
    for name in ("graph.lbdb", "graph.lbdb.lock"):
        shutil.copy(tmp_path / "other" / name, store / name)
    code, printed = run("verify", "--store", store, "--format", "csv")
    assert code == 1 and "foreign graph" in printed and "move the file away" in printed and "--graph" in printed
    assert run("rebuild", "--store", store)[0] == 2
    (store / "graph.lbdb").unlink()
    assert run("rebuild", "--store", store)[0] == 0 and run("verify", "--store", store)[0] == 0


@pytest.mark.parametrize("command", [["status"], ["verify"], ["query", "MATCH (c:Circuit) RETURN c.id"]])
def test_a_file_is_not_a_store(tmp_path: Path, run: Run, command: list[str]) -> None:
    (tmp_path / "file").write_text("")
    code, printed = run(*command, "--store", tmp_path / "file")
    assert code == 2 and "a store is a folder" in printed and "backup" not in printed


def test_the_doctor_gives_a_remedy_that_works(store: Path, run: Run) -> None:
    with sqlite3.connect(store / "catalog.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    code, printed = run("doctor", "--store", store)
    assert code == 1 and "update circuitstore" in printed and "circuitstore verify" not in printed


def test_notices_of_the_writer_are_printed_once(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "graph.lbdb").unlink()
    with logging_to_stderr():
        with open_store(store) as opened, opened.writer() as writer:
            notices = writer.notices
        emit(Table(pd.DataFrame({"n": [1]}), notices))
    assert notices and capsys.readouterr().err.splitlines() == [f"note: {notice}" for notice in notices]


def test_a_catalog_that_needs_more_than_is_installed_names_the_extra(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    code, printed = run("status", "--store", tmp_path, "--catalog", "postgresql+psycopg://me@nowhere/circuits")
    assert code == 2 and 'pip install "circuitstore[postgres]"' in printed
