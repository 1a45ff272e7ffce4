"""Output of the command line: all formats have the same numbers, and stdout may be closed or full."""

from __future__ import annotations

import csv
import datetime
import fcntl
import json
import logging
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from circuitstore.cli.output import NOTES, Destination, Format, emit, logging_to_stderr, print_message, readable, render
from circuitstore.errors import InputError
from circuitstore.plain import as_csv, as_json, plain
from circuitstore.query import named_queries
from circuitstore.results import Table
from circuitstore.store import open_store
from hypothesis import given
from hypothesis import strategies as st

CLI = (sys.executable, "-m", "circuitstore.cli")


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"name": ["a0.h1->m2", "naïve, “quoted”"], "n": [1, 2], "score": [0.1, math.nan], "none": [None, "x"]}
    )


def test_rows_are_the_same_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(frame(), notes=("mind this",), facts={"noise floor": 0.5})
    for suffix, read in {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}.items():
        out = tmp_path / f"rows.{suffix}"
        emit(table, Destination.of(out, None))
        pd.testing.assert_frame_equal(read(out), frame(), check_dtype=False)
    emit(table, Destination.of(tmp_path / "rows.txt", None))
    assert (tmp_path / "rows.txt").read_text(encoding="utf-8") == render(table.frame, Destination())[0]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "note: mind this" in printed.err
    assert "noise floor: 0.5" in printed.err
    assert f"2 rows written to {tmp_path / 'rows.txt'}" in printed.err


@pytest.mark.parametrize(
    ("out", "form", "expected"),
    [
        (None, None, Destination(None, Format.table)),
        (None, Format.json, Destination(None, Format.json)),
        ("-", Format.csv, Destination(None, Format.csv)),
        ("x.csv", None, Destination(Path("x.csv"), Format.csv)),
        ("x.JSON", None, Destination(Path("x.JSON"), Format.json)),
        ("x.parquet", None, Destination(Path("x.parquet"), Format.parquet)),
        ("x.txt", None, Destination(Path("x.txt"), Format.table)),
        ("x.csv", Format.json, Destination(Path("x.csv"), Format.json)),
        ("x.dat", Format.csv, Destination(Path("x.dat"), Format.csv)),
    ],
)
def test_the_suffix_of_the_file_gives_the_format(out: str | None, form: Format | None, expected: Destination) -> None:
    assert Destination.of(None if out is None else Path(out), form) == expected


@pytest.mark.parametrize(
    ("out", "form", "stated"),
    [
        ("x.dat", None, r"--out x\.dat: expected a name that ends in \.txt, \.csv, \.json, \.parquet.*--format"),
        ("rows", None, "--out rows: expected a name"),
        (None, Format.parquet, r"--format parquet: expected a file.*--out FILE\.parquet"),
        ("-", Format.parquet, "expected a file"),
    ],
)
def test_an_unknown_suffix_raises_an_error(out: str | None, form: Format | None, stated: str) -> None:
    with pytest.raises(InputError, match=stated):
        Destination.of(None if out is None else Path(out), form)


def test_a_file_that_cannot_be_written_raises_an_error(tmp_path: Path) -> None:
    for suffix in ("csv", "json", "parquet", "txt"):
        with pytest.raises(InputError, match="cannot write"):
            emit(Table(frame()), Destination.of(tmp_path / "no-such-folder" / f"rows.{suffix}", None))


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)


@given(st.lists(numbers, min_size=1, max_size=5))
def test_json_and_csv_have_all_digits_also_in_lists_and_maps(values: list[float]) -> None:
    answer = pd.DataFrame(
        {
            "x": pd.Series(values, dtype=object),
            "in_list": [[v, [v]] for v in values],
            "in_map": [{"v": v} for v in values],
            "in_array": [np.array([v]) for v in values],
        }
    )
    rows = json.loads(as_json(answer))
    assert rows == [{"x": v, "in_list": [v, [v]], "in_map": {"v": v}, "in_array": [np.array([v])[0]]} for v in values]
    for line, row in zip(csv.DictReader(StringIO(as_csv(answer))), rows, strict=True):
        assert {name: json.loads(text) for name, text in line.items()} == row


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_single_precision_is_the_same_number_in_every_format(values: list[float]) -> None:
    answer = pd.DataFrame({"x": np.array(values, np.float32)})
    assert [row["x"] for row in json.loads(as_json(answer))] == values
    assert [float(line["x"]) for line in csv.DictReader(StringIO(as_csv(answer)))] == values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (pd.NA, None),
        (pd.NaT, None),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (np.float32(0.1), 0.10000000149011612),
        (np.bool_(True), True),
        ((1, {"a": np.int64(2)}), [1, {"a": 2}]),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (pd.Timestamp("2026-01-02 03:04:05.000006"), "2026-01-02T03:04:05.000006"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=str,
)
def test_values_without_a_json_type(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_json_can_be_escaped_to_ascii() -> None:
    answer = pd.DataFrame({"class": ["naïve ☃"]})
    assert as_json(answer) == '[{"class": "naïve ☃"}]\n'
    assert as_json(answer, escaped=True).isascii()
    assert json.loads(as_json(answer, escaped=True)) == json.loads(as_json(answer))
    assert as_json(answer.head(0)) == "[]\n"


@contextmanager
def logging_at(level: int) -> Iterator[None]:
    with logging_to_stderr():
        NOTES.setLevel(level)
        yield


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.ERROR, ["error: 4"]),
        (logging.WARNING, ["message", "note: 3", "error: 4"]),
        (logging.INFO, ["message", "info: 2", "note: 3", "error: 4"]),
    ],
)
def test_verbosity_applies_to_messages_and_the_log(
    level: int, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("circuitstore")
    with logging_at(level):
        print_message("message")
        for number, write in enumerate((log.debug, log.info, log.warning, log.warning, log.error), 1):
            write("%d", min(number, 4) if write == log.error else min(number, 3))
    assert capsys.readouterr().err.splitlines() == expected


def test_the_debug_level_prints_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_at(logging.DEBUG):
        try:
            raise ValueError("why")
        except ValueError as error:
            logging.getLogger("circuitstore").debug("item failed", exc_info=error)
    printed = capsys.readouterr().err
    assert printed.startswith("debug: item failed\nTraceback")
    assert printed.endswith("ValueError: why\n")


SEVERAL = """
import json, sys
from circuitstore.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["circuitstore", *arguments]
    try:
        main()
    except SystemExit as end:
        print(f"[{end.code or 0}]", flush=True)
"""
"""Runs several commands in one process, which is faster than one process each."""


def several(commands: list[list[str]]) -> list[str]:
    """Return a command that runs several commands and prints the exit code of each in brackets."""
    return [sys.executable, "-c", SEVERAL, json.dumps(commands)]


def answers(shown: str) -> list[tuple[str, int]]:
    """Return the output and exit code of each of several commands."""
    parts = re.findall(r"(.*?)\[(\d+)\]\n", shown, re.DOTALL)
    return [(text, int(code)) for text, code in parts]


def on_terminal(width: int, command: list[str]) -> str:
    """Return the output of a command on a terminal of this width."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=subprocess.DEVNULL, env=environment):
        os.close(its)
        shown = b""
        with suppress(OSError):  # when the terminal is closed
            while chunk := os.read(ours, 65536):
                shown += chunk
        os.close(ours)
    return shown.decode().replace("\r\n", "\n")


CIRCUITS = "MATCH (c:Circuit) RETURN c.id AS id, c.class AS class, c.condition AS condition, c.extraction AS how"


@pytest.mark.parametrize("width", [60, 200])
def test_every_table_fits_the_terminal(filled_store: Path, width: int) -> None:
    place = ["--store", str(filled_store / "circuitstore-data")]
    with open_store(filled_store / "circuitstore-data") as store:
        id = store.circuits()["id"][0]
    commands = [
        ["query"],
        ["docs"],
        ["status", *place],
        ["status", "made up", *place],
        ["compare", *place],
        ["compare", "--by", "condition", *place],
        ["query", "studies", *place],
        ["query", CIRCUITS, *place],
        ["show", id, *place],
        ["doctor", *place],
    ]
    shown = answers(on_terminal(width, several(commands)))
    assert len(shown) == len(commands)
    for command, (text, code) in zip(commands, shown, strict=True):
        assert code == 0, command
        lines = text.splitlines()
        assert len(lines) > 2, command
        assert max(map(len, lines)) <= width, command


def test_a_terminal_lists_named_queries_one_per_line() -> None:
    shown = on_terminal(100, [*CLI, "query"]).splitlines()[2:]
    assert [line.split()[0] for line in shown] == list(named_queries())
    assert all(len(line.split(maxsplit=1)) == 2 for line in shown)


def test_output_in_a_pipe_is_complete(filled_store: Path) -> None:
    asked = ["query", f"{CIRCUITS} ORDER BY id", "--store", str(filled_store / "circuitstore-data")]
    environment = {**os.environ, "COLUMNS": "60"}
    command = several([asked, [*asked, "--format", "json"]])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    (table, _), (rows, _) = answers(done.stdout)
    assert [line.split() for line in table.splitlines()[2:]] == [" ".join(r.values()).split() for r in json.loads(rows)]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_characters_that_stdout_lacks_are_escaped(filled_store: Path, encoding: str) -> None:
    asked = ["query", "RETURN 'snow ☃ é' AS u", "--store", str(filled_store / "circuitstore-data")]
    command = several([asked, [*asked, "--format", "csv"], [*asked, "--format", "json"]])
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    shown = answers(done.stdout.decode(encoding))
    assert [code for _, code in shown] == [0, 0, 0]
    expected = "snow ☃ é".encode(encoding, "backslashreplace").decode(encoding)
    assert [text.splitlines()[-1] for text, _ in shown[:2]] == [expected, expected]
    assert json.loads(shown[2][0]) == [{"u": "snow ☃ é"}]


FULL = "error: cannot write to stdout (No space left on device)"


@pytest.mark.parametrize(
    ("command", "redirection", "code", "stated"),
    [
        ("query 'MATCH (n:Node) RETURN n.key'", "> /dev/full", 2, FULL),
        ("docs spec", "> /dev/full", 2, FULL),
        ("--help", "> /dev/full", 2, FULL),
        ("status", ">&-", 0, "note: nothing is writing now"),
        ("status", "<&- >&- 2>&-", 0, ""),
        ("status", "2> /dev/full", 0, ""),
    ],
)
def test_a_closed_or_full_stdout_shows_no_traceback(
    filled_store: Path, command: str, redirection: str, code: int, stated: str
) -> None:
    line = f"{' '.join(CLI)} {command} {redirection}"
    environment = {**os.environ, "CIRCUITSTORE_STORE": str(filled_store / "circuitstore-data")}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(stated)
    assert len(done.stderr.splitlines()) == bool(stated)


def test_tables_have_the_same_short_names_in_both_columns_of_a_pair() -> None:
    words = [f"typographic(number=1, size={size})" for size in (0.2, 0.4)]
    full = pd.DataFrame(
        {"a": ["natural", words[0]], "b": [words[0], words[1]], "condition": words[1:] * 2, "n": [1, 2]}
    )
    short = readable(full, Destination())
    assert short["a"].tolist() == ["natural", "typographic(size=0.2)"]
    assert short["b"].tolist() == ["typographic(size=0.2)", "typographic(size=0.4)"]
    assert short["condition"].tolist() == ["typographic"] * 2 and short["n"].tolist() == [1, 2]
    for form in (Format.csv, Format.json):
        assert readable(full, Destination(form=form)) is full
