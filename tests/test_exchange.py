"""The commands export and import."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path

import pandas as pd
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


def test_circuits_are_exported_to_a_file_a_folder_and_stdout(ids: list[str]) -> None:
    done = run("export", ids[0][:12], "--as", "eap-ig", "--out", "one.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "written to one.json\n")
    assert json.loads(Path("one.json").read_text())["circuitstore"]["id"] == ids[0]
    assert run("export", *ids[:3], "--as", "graphml", "--out", "several").returncode == 0
    assert {path.name for path in Path("several").iterdir()} == {f"{id[:12]}.graphml" for id in ids[:3]}
    printed = run("export", *ids[:2], "--as", "csv", "--out", "-").stdout
    assert set(pd.read_csv(StringIO(printed))["circuit"]) == set(ids[:2])


def test_what_cannot_be_exported_is_named_and_nothing_is_written(ids: list[str]) -> None:
    Path("one.json").write_text("mine")
    assert "one.json: exists already" in refused("export", ids[0], "--as", "eap-ig", "--out", "one.json")
    assert Path("one.json").read_text() == "mine"
    assert run("export", ids[0], "--as", "eap-ig", "--out", "one.json", "--overwrite").returncode == 0
    assert "unknown format 'eap'" in refused("export", ids[0], "--as", "eap", "--out", "x")
    assert "dataset writes several files" in refused("export", ids[0], "--as", "dataset", "--out", "-")
    assert "is a torch file" in refused("export", ids[0], "--as", "eap-ig-pt", "--out", "-")
    assert "no circuit has an id that begins with" in refused("export", "zz", "--as", "csv", "--out", "x.csv")
    assert sorted(path.name for path in Path().iterdir()) == ["circuitstore-data", "one.json"]


def test_a_file_is_imported_once() -> None:
    Path("kept.json").write_text('[["tok_embeds", "a0.h0.q"], ["a0.h0", "resid_post"], ["m0", "m1"]]')
    command = ("import", "kept.json", "--as", "edge-pruning", "--model", "digits", "--class", "three", "--store", "new")
    kinds = ("--corruption", "{ kind = 'other-class', partners = 1 }", "--metric", "logit")
    done = run(*command, *kinds)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "note: kept.json: 1 of 3 edges are left out, because they are on no path from input to logits",
        "imported: kept.json stored, 1 circuits",
    ]
    again = run(*command, *kinds).stderr.splitlines()
    assert again[1] == "imported: kept.json is already in the store; 0 circuits are new"
    with open_store("new") as store:
        (row,) = store.circuits().to_dict("records")
    assert (row["class"], row["corruption"], row["n_edges"]) == ("three", "other-class(partners=1)", 2)
    assert "the file has no scores" in refused(*command, "--scored", "loss")


def test_what_cannot_be_imported_is_named_and_no_store_is_created() -> None:
    command = ("import", "edges.pkl", "--as", "acdc", "--class", "three", "--store", "new")
    assert "a pickle runs code when it is loaded" in refused(*command, "--model", "digits")
    assert "give a spec file (.toml)" in refused(*command, "--model", "digit")
    assert not Path("new").exists()
