"""Corrections from a spec: what is stored, what is not repeated, and what a killed correction leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore import query
from circuitstore.analysis import write_report
from circuitstore.circuits import Response
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS, Predictions
from circuitstore.images.digits import DigitsSource
from circuitstore.ingest import CorrectionResult, correct, correction_images, index, parse_spec
from circuitstore.models import ViT
from circuitstore.store import open_store
from circuitstore.store.faults import VARIABLE
from PIL import Image

METHODS = ["none", "edges", "senders", "random edges", "random non-circuit edges"]

TURNED = """
name = "turned"
model = "digits"
[images]
source = "digits"
only = ["three", "five", "eight"]
per_class = 60
choose = "all"
[[condition]]
kind = "rotation"
severity = 5
[correction]
error = "confusion"
sizes = [48]
strengths = [1.0]
draws = 2
max_loss = 0.5
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, digits_model: ViT) -> Path:
    """Threes and eights whose cue is a word: the model reads the word of the other class."""
    folder, source = tmp_path_factory.mktemp("cue"), DigitsSource(digits_model)
    predictions, rows = Predictions(source, digits_model), []
    for name, other in (("three", "eight"), ("eight", "three")):
        cls = source.class_named(name)
        refs = source.candidates(cls)[:16]
        (folder / "images" / name).mkdir(parents=True)
        drawn = {"plain": predictions.views(cls, refs)}
        for word, of in (("own", name), ("other", other)):
            condition = CONDITIONS.resolve("typographic", {"text": of})
            drawn[word] = predictions.views(cls, refs, condition)
        for group, views in drawn.items():
            for ref, view in zip(refs, views, strict=True):
                place = f"{name}/{ref.hash[:12]}-{group}.png"
                Image.fromarray(view).save(folder / "images" / place)
                written = {"plain": "none", "own": name, "other": other}[group]
                rows.append((place, written, ref.hash[:12]))
    pd.DataFrame(rows, columns=["path", "group", "unit"]).to_csv(folder / "groups.csv", index=False)
    return folder


CUE = """
name = "cue"
model = "digits"
[images]
source = { folder = "images" }
groups = { path = "groups.csv" }
units = { path = "groups.csv" }
per_class = 16
choose = "all"
[[condition]]
kind = "natural"
[correction]
error = "cue"
cues = { three = "three", eight = "eight" }
sizes = [48]
strengths = [1.0]
draws = 2
"""


def changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def corrected(world: Path, digits_model: ViT) -> CorrectionResult:
    spec = parse_spec(CUE, folder=world)
    return correct(spec, location=world / "store", model=digits_model, progress=False)


@pytest.mark.slow
def test_the_cue_is_corrected_and_every_cell_is_stored(world: Path, corrected: CorrectionResult) -> None:
    frame = corrected.table.frame.set_index(["method", "group"])["accuracy"]
    assert list(frame.index.unique("method")) == [*METHODS, "heads and MLPs", "last layer"]
    assert list(frame.index.unique("group")) == ["no cue", "agreeing", "misleading", "worst group"]
    assert frame["none", "misleading"] < 0.2 and frame["none", "no cue"] > 0.9
    assert frame["edges", "misleading"] > frame["none", "misleading"] + 0.5
    with open_store(world / "store") as store:
        responses = store.responses("cue")
        assert len(responses) == corrected.computed and set(responses["image_group"]) == {"none", "three", "eight"}
        assert store.verify().to_pandas().empty
        asked = query.run(store, "correction-table", run="cue")
        assert asked.frame.drop(columns="model").equals(corrected.table.frame)
        assert _counted(store, responses) == pytest.approx(frame["none", "misleading"])
        page = write_report(store, world / "report.html").read_text(encoding="utf-8")
        assert 'id="corrections"' in page and "digits: cue, natural" in page and "worst group" in page
        with store.writer() as writer:
            writer.gc()
        assert store.responses("cue").equals(responses)


def _counted(store, responses: pd.DataFrame) -> float:
    """The share of hits of the unchanged model on images with the other word, from its responses."""
    found: list[Response] = [store.response(id) for id in responses.loc[responses["intervention"] == "none", "id"]]
    misled = [r for r in found if r.trial.selection.group not in ("none", r.trial.target_class.name)]
    return float(np.concatenate([r.hit for r in misled]).mean())


@pytest.mark.slow
def test_no_digit_is_in_two_splits(world: Path, corrected: CorrectionResult) -> None:
    with open_store(world / "store") as store:
        report = {hash_ for id in store.responses("cue")["id"] for hash_ in store.response(id).images}
        used = {hash_ for id in store.fits("cue", thing="correction")["id"] for hash_ in store.fit(id).images}
    unit = {sha256(file.read_bytes()).hexdigest(): file.name[:12] for file in (world / "images").rglob("*.png")}
    assert report and used and not {unit[h] for h in report} & {unit[h] for h in used}


@pytest.mark.slow
def test_a_killed_correction_continues_where_it_was(world: Path, corrected: CorrectionResult, tmp_path: Path) -> None:
    """Killed while it stores a response: nothing is lost, nothing is computed twice, and the figures are the same."""
    file = world / "cue.toml"
    file.write_text(CUE)
    command = [
        sys.executable,
        "-m",
        "circuitstore.cli",
        "correct",
        str(file),
        "--store",
        str(tmp_path),
        "--no-progress",
    ]
    environment = {**os.environ, VARIABLE: "archive.rename.after:16"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with open_store(tmp_path) as store:
        before = set(store.responses("cue")["id"])
    assert 0 < len(before) < corrected.computed
    rest = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=True)
    found = pd.DataFrame(json.loads(rest.stdout))
    whole = corrected.table.frame.drop(columns="seconds_per_image")
    pd.testing.assert_frame_equal(found[whole.columns], whole, check_dtype=False)
    with open_store(tmp_path) as store, open_store(world / "store") as other:
        ids = set(store.responses("cue")["id"])
        assert ids == set(other.responses("cue")["id"]) and before < ids
        assert set(store.fits("cue")["id"]) == set(other.fits("cue")["id"])
        assert store.verify().to_pandas().empty
    computed = int(rest.stderr.split("cue: ")[-1].split(" responses computed")[0])
    assert len(before) + computed in (len(ids), len(ids) - 1)  # the last one was written, but not listed


@pytest.mark.slow
def test_repeating_a_correction_computes_nothing(world: Path, corrected: CorrectionResult, digits_model: ViT) -> None:
    again = correct(parse_spec(CUE, folder=world), location=world / "store", model=digits_model, progress=False)
    assert again.computed == 0 and again.table.frame.equals(corrected.table.frame)
    assert again.sweeps.equals(corrected.sweeps)


@pytest.mark.slow
def test_a_confusion_is_corrected_under_its_condition(digits_model: ViT, tmp_path: Path) -> None:
    result = correct(parse_spec(TURNED), location=tmp_path, model=digits_model, progress=False)
    frame = result.table.frame
    assert set(frame["condition"]) == {"rotation"} and frame["error"].str.fullmatch(r"\w+ read as \w+").all()
    assert list(frame["method"].unique()) == [*METHODS, "edges at the mean"]
    groups = frame.loc[frame["method"] == "none"].set_index("group")
    assert groups.loc["all", "images"] == 45 and groups.loc["true class", "images"] == 15
    parts = groups.loc[["true class", "other class", "all others"]]  # the other class may have no images of its own
    hits = (parts["accuracy"] * parts["images"]).sum()
    assert groups.loc["all", "accuracy"] == pytest.approx(hits / 45) and parts["images"].sum() == 45
    assert groups.loc["confused", "accuracy"] > 0


def test_the_images_of_a_correction(world: Path, digits_model: ViT) -> None:
    found = correction_images(parse_spec(CUE, folder=world), digits_model, progress=False).frame
    assert found["cue"].tolist() == ["eight", "", "three"] * 2
    assert (found["discovery"] == 8).all() and (found["selection"] == 4).all() and (found["report"] == 4).all()


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (CUE, [('choose = "all"', 'choose = "correct"')], "images.choose: expected 'all'"),
        (CUE, [('groups = { path = "groups.csv" }\n', "")], "images.groups: the correction of a cue needs groups"),
        (CUE, [('{ three = "three"', '{ tree = "three"')], "cues: unknown group 'tree'; did you mean 'three'"),
        (CUE, [('eight = "eight"', 'eight = "weight"')], "cues: unknown class 'weight'; did you mean 'eight'"),
        (CUE, [('cues = { three = "three", eight = "eight" }\n', "")], "correction: expected cues, such as"),
        (TURNED, [("draws = 2", 'draws = 2\ncues = { a = "three" }')], "correction: expected cues, such as"),
        (TURNED, [("[correction]", "[corrections]")], "corrections: unknown field; did you mean 'correction'"),
        (TURNED, [('kind = "rotation"\nseverity = 5', 'kind = "natural"')], "every image is read well"),
    ],
)  # fmt: skip
def test_corrections_that_are_not_possible(
    text: str, changes: list[tuple[str, str]], message: str, world: Path, tmp_path: Path, digits_model: ViT
) -> None:
    with pytest.raises(InputError, match=message):
        correct(
            parse_spec(changed(text, *changes), folder=world), location=tmp_path, model=digits_model, progress=False
        )


def test_a_correction_is_not_indexed(tmp_path: Path, digits_model: ViT) -> None:
    with pytest.raises(InputError, match=r"it has \[correction\], but no \[\[recipe\]\].*run circuitstore correct"):
        index(parse_spec(TURNED), location=tmp_path, model=digits_model, progress=False)
    text = TURNED[: TURNED.index("[correction]")] + '[[recipe]]\nmethod = "eap"\n[[extract]]\nedges = 9\n'
    with pytest.raises(InputError, match="correction: this table is missing; add"):
        correct(parse_spec(text), location=tmp_path, model=digits_model, progress=False)
