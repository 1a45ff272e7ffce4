"""Commands that show and draw one circuit, the pages of the documentation, verbosity and completion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from circuitstore.circuits import CircuitRecord
from circuitstore.cli.pages import pages
from circuitstore.query import named_queries
from circuitstore.store import open_store

from .command import refused, rows, run


@pytest.fixture(autouse=True)
def elsewhere(filled_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder with a store of made-up circuits in the default place, and without settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CIRCUITSTORE_")]:
        monkeypatch.delenv(name)
    shutil.copytree(filled_store / "circuitstore-data", tmp_path / "circuitstore-data")


@pytest.fixture
def record() -> CircuitRecord:
    with open_store() as store:
        return store.circuit(store.circuits()["id"][0])


def test_a_circuit_is_shown_by_the_beginning_of_its_id(record: CircuitRecord) -> None:
    (shown,) = json.loads(run("show", record.id[:12], "--format", "json").stdout)
    assert {name: shown[name] for name in record.properties()} == record.properties()
    assert shown["kind"] == "circuit"
    assert shown["discovery_id"] == record.discovery_id
    assert shown["model_id"] == record.item.model.id
    assert shown["runs"] == "made up"
    lines = run("show", record.id).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shown)
    assert f"class                {record.item.target_class.name}" in lines


def test_a_discovery_is_shown_with_its_circuits(record: CircuitRecord) -> None:
    (shown,) = json.loads(run("show", record.discovery_id, "--format", "json").stdout)
    assert shown["kind"] == "discovery"
    assert shown["id"] == record.discovery_id
    assert shown["class"] == record.item.target_class.name
    assert shown["method"] == record.item.recipe.method.text
    assert shown["circuits"] == record.id


def test_an_unknown_or_ambiguous_id_raises_an_error() -> None:
    assert "no circuit, discovery or note has the id 'zz'" in refused("show", "zz")
    assert "several ids begin with ''" in refused("show", "")


def test_a_circuit_is_drawn_into_a_file_or_to_stdout(record: CircuitRecord) -> None:
    done = run("draw", record.id[:12], "--out", "x.svg", "--most", "5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "written to x.svg\n")
    assert Path("x.svg").read_text(encoding="utf-8") == f"{record.draw(max_edges=5)}\n"
    piped = run("draw", record.id, "--out", "-")
    assert (piped.stdout, piped.stderr) == (f"{record.draw()}\n", "")
    assert ET.fromstring(piped.stdout).tag.endswith("svg")


def test_drawings_that_are_impossible_raise_an_error(record: CircuitRecord) -> None:
    assert "ends in .svg" in refused("draw", record.id, "--out", "x.png")
    assert "cannot write" in refused("draw", record.id, "--out", "absent/x.svg")
    assert "no circuit" in refused("draw", record.discovery_id, "--out", "x.svg")
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["circuitstore-data"]


def test_pages_are_listed_and_printed() -> None:
    listed = run("docs").stdout.splitlines()[2:]
    assert [line.split()[0] for line in listed] == list(pages())
    assert all(Path(line.split()[-1]).is_file() for line in listed)
    assert run("docs", "graph").stdout == pages()["graph"].read_text(encoding="utf-8")
    assert "did you mean 'graph'" in refused("docs", "graphs")


def test_an_unknown_suffix_raises_an_error_before_the_command_runs() -> None:
    assert "expected a name that ends in" in refused("query", "MATCH (c:Circuit RETURN", "--out", "rows.dat")
    assert run("query", "sizes", "--out", "sizes.csv").returncode == 0
    assert len(pd.read_csv("sizes.csv")) > 0


@pytest.mark.parametrize("place", ["before", "after"])
def test_verbosity(place: str) -> None:
    def printed(*options: str) -> str:
        arguments = [*options, "status"] if place == "before" else ["status", *options]
        done = run(*arguments)
        assert done.returncode == 0
        assert "made up" in done.stdout
        return done.stderr

    assert printed() == "note: nothing is writing now\n"
    assert printed("-q") == printed("--quiet") == ""
    assert printed("-v") == printed("--verbose") == f"info: store: the default folder\n{printed()}"
    assert printed("-vv").startswith("info: ")


def test_errors_are_printed_at_every_verbosity() -> None:
    assert "unknown page" in refused("-q", "docs", "nothing")


SPEC = """
name = "few"
model = "digits"
[images]
source = "digits"
per_class = 16
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
[[recipe]]
method = "eap-ig"
steps = 2
[[extract]]
edges = 30
"""


def test_the_log_has_each_item_with_its_time() -> None:
    Path("spec.toml").write_text(SPEC)
    log = run("index", "spec.toml", "-v").stderr.splitlines()
    assert "\r" not in "".join(log)
    assert [t for t in log if t.startswith("0 of 2 items after 00:00: three · natural · eap")]
    for method in ("eap", "eap-ig"):
        assert [t for t in log if t.startswith(f"info: three · natural · {method} (") and "answered in" in t]
    assert log[-1].startswith("few: 2 items done, 0 already in the store, 0 failed")
    Path("spec.toml").write_text(SPEC.replace('"three"', '"three", "seven"'))
    quiet = run("index", "spec.toml", "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert len(rows("status", "few")) == 4
    assert set(rows("status", "few")["method"].str.partition("(")[0]) == {"eap", "eap-ig"}


def completed(words: str) -> set[str]:
    """Return what the tab key offers in bash after these words."""
    environment = {
        **os.environ,
        "_CIRCUITSTORE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    code = "import sys; sys.argv = ['circuitstore']; from circuitstore.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_tab_key_completes_commands_options_queries_and_pages() -> None:
    assert completed("circuitstore d") == {"defend", "delete", "demo", "detect", "docs", "doctor", "draw"}
    assert completed("circuitstore status --fo") == {"--format"}
    assert completed("circuitstore query s") == {name for name in named_queries() if name.startswith("s")}
    assert completed("circuitstore docs g") == {"graph"}
