"""The commands note add, note list and note export, and notes where other commands show their subjects."""

from __future__ import annotations

import json
import shutil
import sys
from io import StringIO
from pathlib import Path

import pytest
from circuitstore.store import open_store

from .command import refused, run


@pytest.fixture(autouse=True)
def elsewhere(filled_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder with a store of made-up circuits in the default place."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(filled_store / "circuitstore-data", tmp_path / "circuitstore-data")


@pytest.fixture
def ids() -> list[str]:
    with open_store() as store:
        return list(store.circuits()["id"])


def add(*arguments: str) -> str:
    done = run("note", "add", "--author", "ada", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def rows(*arguments: str) -> list[dict[str, object]]:
    """What a command prints as JSON."""
    return json.loads(run(*arguments, "--format", "json").stdout)


def test_a_note_is_added_listed_shown_and_exported(ids: list[str]) -> None:
    about = ("--about", f"circuit:{ids[0][:12]}", "--about", f"pair:{ids[1][:12]}..{ids[2][:12]}")
    first = add("reads the **word**", *about, "--tag", "words", "--state", "open")
    second = add("--replaces", first[:12], "--state", "supported", "--evidence", f"circuit:{ids[3]}")
    assert [row["id"] for row in rows("note", "list")] == [second]
    assert [row["id"] for row in rows("note", "list", "--about", f"circuit:{ids[2][:12]}")] == [second]
    assert rows("note", "list", "--state", "refuted") == rows("note", "list", "--tag", "word") == []
    assert len(rows("note", "list", "--replaced")) == 2

    (shown,) = rows("show", ids[0])
    assert shown["noted"] == ["ada (supported): reads the **word**"]
    (note,) = rows("show", second[:12])
    assert (note["text"], note["replaces"], note["state"]) == ("reads the **word**", first, "supported")

    exported = json.loads(run("note", "export", "--as", "json").stdout)["notes"]
    assert [record["id"] for record in exported] == [second]
    assert exported[0]["hypothesis"] == {"state": "supported", "evidence": [["circuit", ids[3]]]}
    done = run("note", "export", "--out", "notes.md")
    assert (done.stdout, done.stderr) == ("", "1 note written to notes.md\n")
    assert f"- evidence `circuit:{ids[3]}`\n- tags: words\n" in Path("notes.md").read_text()


def test_a_text_comes_from_a_file_or_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("long.md").write_bytes(b"first line\r\nsecond line\n")
    add("--file", "long.md")
    monkeypatch.setattr(sys, "stdin", StringIO("from a pipe\n"))
    add("-")
    assert [row["text"] for row in rows("note", "list")] == ["first line\nsecond line", "from a pipe"]
    assert "expected a text or a file, got both" in refused("note", "add", "text", "--file", "long.md")
    assert "none.md: cannot be read" in refused("note", "add", "--file", "none.md")
    Path("bytes.md").write_bytes(b"\xff\xfe")
    assert "bytes.md: cannot be read" in refused("note", "add", "--file", "bytes.md")


def test_what_cannot_be_noted_is_named() -> None:
    assert "expected the text of the note, got none" in refused("note", "add")
    assert "unknown kind of subject 'circut'" in refused("note", "add", "text", "--about", "circut:1")
    assert "no circuit has an id that begins with 'zz'" in refused("note", "add", "text", "--about", "circuit:zz")
    assert "expected a subject as KIND:REFERENCE" in refused("note", "list", "--about", "1234")
    assert rows("note", "list", "--replaced") == []


def test_a_note_is_not_added_while_another_process_writes() -> None:
    with open_store() as store, store.writer():
        assert "--wait" in refused("note", "add", "text")
    assert rows("note", "list") == []
