"""Defence studies: what is stored, what is not repeated, and what a killed study leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from circuitstore import query
from circuitstore.analysis import write_report
from circuitstore.errors import InputError
from circuitstore.ingest import defend, index, outline_defence, parse_spec
from circuitstore.models import ViT
from circuitstore.store import open_store
from circuitstore.store.faults import VARIABLE

SPEC = """
name = "study"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 16
choose = "all"
[[condition]]
kind = "pgd"
eps = "8/255"
steps = 2
[[condition]]
kind = "random-signs"
eps = "8/255"
[defence]
sizes = [96]
strengths = [2.0]
draws = 2
restarts = 1
false_alarms = 0.2
"""
ATTACKED = "pgd"


def changed(*changes: tuple[str, str]) -> str:
    text = SPEC
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.slow
def test_a_killed_study_continues_where_it_was(tmp_path: Path, digits_model: ViT) -> None:
    """Killed while it stores a response: nothing is lost, nothing is computed twice, and the figures are the same."""
    file, killed, whole = tmp_path / "spec.toml", tmp_path / "killed", tmp_path / "whole"
    file.write_text(SPEC)
    command = [sys.executable, "-m", "circuitstore.cli", "defend", str(file), "--store", str(killed), "--no-progress"]
    done = subprocess.run(
        command, env={**os.environ, VARIABLE: "archive.rename.after:30"}, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with open_store(killed) as store:
        before = set(store.responses("study")["id"])
    assert before
    rest = defend(parse_spec(SPEC), location=killed, model=digits_model, progress=False)
    result = defend(parse_spec(SPEC), location=whole, model=digits_model, progress=False)
    with open_store(killed) as store, open_store(whole) as other:
        ids = set(store.responses("study")["id"])
        assert ids == set(other.responses("study")["id"]) and before < ids
        assert len(before) + rest.computed in (len(ids), len(ids) - 1)  # the last one was written, but not listed
        assert set(store.fits("study")["id"]) == set(other.fits("study")["id"])
        assert store.verify().to_pandas().empty
    figures = [r.table.frame.drop(columns="seconds_per_image") for r in (rest, result)]
    assert figures[0].equals(figures[1])
    _check_result(whole, result.table.frame)
    outlined = outline_defence(parse_spec(SPEC), model=digits_model, location=whole).frame
    assert outlined["stored"].equals(outlined["responses"]) and set(outlined["defence"]) == set(
        result.table.frame["defence"]
    )
    nothing = outline_defence(parse_spec(SPEC), model=digits_model, location=tmp_path / "none").frame
    assert not nothing["stored"].any() and (nothing["responses"] >= outlined["responses"]).all()
    assert not (tmp_path / "none").exists()
    passes: list[int] = []
    counter = digits_model.module.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    again = defend(parse_spec(SPEC), location=whole, model=digits_model, progress=False)
    counter.remove()
    assert len(passes) < 10  # the plan tries each condition on one image; no image of the study is attacked again
    assert again.computed == 0 and again.table.frame.equals(result.table.frame)
    assert again.sweeps.equals(result.sweeps) and again.coherence.equals(result.coherence)


def _check_result(folder: Path, frame) -> None:
    """Check the rows of a study, and that the named query gives the same from the store."""
    rows = frame.set_index(["defence", "condition", "attacker"])
    assert set(frame["against"]) == {ATTACKED}  # random signs are a control
    assert {"none", "edges", "edges, detector", "senders", "random edges", "last layer"} <= set(frame["defence"])
    assert set(frame["condition"]) == {"natural", "pgd", "random-signs"} and set(frame["images"]) == {8}
    assert {key[0] for key in rows.index if key[2] == "defence"} >= {"none", "edges", "last layer"}
    assert (frame["accuracy_low"] <= frame["accuracy"]).all() and (frame["accuracy"] <= frame["accuracy_high"]).all()
    with open_store(folder) as store:
        asked = query.run(store, "defence-table", run="study")
        assert asked.frame.drop(columns="model").equals(frame)
        assert any("if the attack is run on the defended model" in note for note in asked.notes)
        responses = store.responses("study")
        assert store.fits("study", thing="detector")["fit"].str.startswith("layers-mahalanobis").all()
        assert {"none", "gated", "steer-edges", "steer-senders", "replace-head"} <= set(responses["intervention"])
        plain = store.responses("study", intervention="none", attack="natural")
        shares = (plain["accuracy"] * plain["n_images"]).sum() / plain["n_images"].sum()
        assert np.isclose(shares, rows.loc[("none", "natural", "none"), "accuracy"])
        page = write_report(store, folder / "report.html").read_text(encoding="utf-8")
        assert 'id="defences"' in page and "digits: against pgd" in page
        assert page.count("attacked; predicted with none: ") == 2 * 2  # caption and alternative text of two classes
        with store.writer() as writer:
            writer.gc()  # what a study keeps is not removed
        assert store.responses("study").equals(responses)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("[defence]", "[defence]\nagainst = ['fgsm']")], r"spec: defence.against: unknown condition 'fgsm'"),
        ([("[defence]", "[defence]\nagainst = ['random-signs']")], r"defence.against: unknown attack 'random-signs'"),
        ([('choose = "all"', 'choose = "successful"')], "images.choose: a defence is reported on all images"),
        ([('only = ["three", "eight"]', 'only = ["three"]')], "needs at least two classes"),
        ([("sizes = [96]", "sizes = [99999]")], "sizes: expected at most 479, the number of edges of the graph"),
        ([("strengths = [2.0]", "strengths = [-1.0]")], r"defence.strengths\[0\]: .*greater than 0, got -1.0"),
        ([("[defence]", "[defense]")], "defense: unknown field; did you mean 'defence'"),
        ([('kind = "pgd"', 'kind = "fgsm"'), ("steps = 2\n", ""), ('eps = "8/255"\n[[', 'eps = "1/1000"\n[[')],
         "the attack succeeds on 0 of 16 discovery images, and directions need at least two"),
    ],
)  # fmt: skip
def test_studies_that_are_not_possible(
    changes: list[tuple[str, str]], message: str, tmp_path: Path, digits_model: ViT
) -> None:
    with pytest.raises(InputError, match=message):
        defend(parse_spec(changed(*changes)), location=tmp_path, model=digits_model, progress=False)


def test_a_study_is_not_indexed(tmp_path: Path, digits_model: ViT) -> None:
    with pytest.raises(InputError, match=r"spec: it has \[defence\], but no \[\[recipe\]\].*run circuitstore defend"):
        index(parse_spec(SPEC), location=tmp_path, model=digits_model, progress=False)


def test_a_spec_without_the_table_has_nothing_to_defend(tmp_path: Path, digits_model: ViT) -> None:
    text = changed((SPEC[SPEC.index("[defence]") :], '[[recipe]]\nmethod = "eap"\n[[extract]]\nedges = 9\n'))
    with pytest.raises(InputError, match="defence: this table is missing; add"):
        defend(parse_spec(text), location=tmp_path, model=digits_model, progress=False)
