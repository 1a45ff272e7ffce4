"""Progress of a run: a bar on a terminal, lines in a log file."""

from __future__ import annotations

import os
import re
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
from circuitstore.bars import Bar
from circuitstore.ingest import bar
from circuitstore.ingest.bar import Lines, progress_display


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_and_a_file_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert isinstance(progress_display(3, wanted=True), Lines)
    with progress_display(3, wanted=False) as silent:
        silent.reach(2)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_display(3, wanted=True) as drawn:
        assert isinstance(drawn, Bar)
        drawn.set_description("three · natural")
        drawn.reach(3)
    assert "three · natural: 100%" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_a_log_file_has_a_line_at_first_and_then_one_per_interval(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(bar, "time", SimpleNamespace(monotonic=lambda: now))
    with Lines(40) as lines:
        for done in range(41):
            lines.set_description(f"item {done}")
            lines.set_postfix_str("1 of 2")
            lines.reach(done)
            now += 10.0
    assert capsys.readouterr().err.splitlines()[:3] == [
        "0 of 40 items after 00:00: item 0 (1 of 2)",
        "3 of 40 items after 00:30, about 06:10 left: item 3 (1 of 2)",
        "6 of 40 items after 01:00, about 05:40 left: item 6 (1 of 2)",
    ]


def test_lines_have_no_carriage_returns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bar, "EVERY_S", 0.0)
    with Lines(2) as lines:
        lines.reach(1)
        lines.reach(2)
    printed = capsys.readouterr().err
    assert re.fullmatch(r"(\d of 2 items after [\d:]+, about [\d:]+ left: \n){2}", printed)


def test_a_log_file_that_cannot_be_written_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", full)
        with Lines(2) as lines:
            lines.reach(1)
        monkeypatch.undo()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, full.fileno())  # what is still buffered is written when the file is closed
        os.close(nowhere)
