"""Detection on the images of a run: what is stored beside it, what is flagged, and the queries that show it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circuitstore.defence import DETECTORS, FittedDetector
from circuitstore.errors import InputError
from circuitstore.ingest import Detection, Spec, detect, parse_spec
from circuitstore.query import run as ask
from circuitstore.store import Store, create_store, open_store
from PIL import Image

from ..command import refused, rows, run

SPEC = """
name = "small"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 24
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
text = "other class"
[[recipe]]
method = "eap"
form = "block"
corruption = "other-class"
metric = "logit"
[[extract]]
edges = 20
"""
CHEAP = DETECTORS.resolve("edges-deviation", {"method": "eap", "form": "block"})
RATE = {"false_alarms": 0.2}


@pytest.fixture(scope="module")
def spec() -> Spec:
    return parse_spec(SPEC)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, spec: Spec) -> Path:
    """A store that knows the run; a detector needs none of its circuits."""
    folder = tmp_path_factory.mktemp("detect") / "data"
    with create_store(folder) as store, store.writer() as writer:
        writer.start_run(spec.name, spec.text, [], [])
    return folder


@pytest.fixture(scope="module")
def found(spec: Spec, place: Path) -> Detection:
    return detect(spec, CHEAP, location=place, **RATE)


@pytest.fixture(scope="module")
def store(found: Detection, place: Path) -> Iterator[Store]:
    with open_store(place) as opened:
        yield opened


def test_every_report_image_is_scored_under_each_condition(found: Detection) -> None:
    frame = found.images.frame
    assert len(frame) == 24 and set(frame["class"]) == {"three", "eight"}
    assert frame.groupby("condition").size().tolist() == [12, 12]
    assert frame["score"].is_monotonic_decreasing
    assert (frame["flagged"] == (frame["score"] > found.detector.threshold)).all()
    assert str(frame.groupby("condition")["score"].median().idxmax()).startswith("typographic")
    chosen = found.detector.calibration
    assert chosen is not None and chosen.n_images == 12 and chosen.flagged <= 0.2
    assert found.detector.facts["images"] == 24 == len(found.detector.images)
    assert "stored as" in found.images.facts["detector"] and "natural" in found.images.facts["flagged"]


def test_the_detector_comes_back_bit_by_bit(found: Detection, store: Store, digits_model) -> None:
    there = FittedDetector.of_fit(store.fit(found.id))
    assert (there.use, there.images, there.facts) == (found.detector.use, found.detector.images, found.detector.facts)
    assert there.calibration == found.detector.calibration
    for name, values in found.detector.arrays.items():
        assert np.array_equal(there.arrays[name], values) and there.arrays[name].dtype == values.dtype
    images = digits_model.preprocess.normalise(np.zeros((2, 64, 64, 3), np.uint8))
    assert np.array_equal(there.scores(digits_model, images), found.detector.scores(digits_model, images))
    scores = store.fits(thing="scores")["id"].iloc[0]
    with pytest.raises(InputError, match="expected a detector, got scores"):
        FittedDetector.of_fit(store.fit(scores))


@pytest.mark.slow
def test_the_run_keeps_detector_and_scores_and_a_second_call_stores_nothing(
    found: Detection, store: Store, spec: Spec, place: Path
) -> None:
    before = store.fits(spec.name)
    assert before["thing"].value_counts().to_dict() == {"scores": 2, "detector": 1}
    store.close()
    again = detect(spec, CHEAP, location=place, **RATE)
    assert again.id == found.id and again.images.frame.equals(found.images.frame)
    with open_store(place) as opened:
        assert opened.fits(spec.name).equals(before)
        assert len(opened.verify()) == 0


def test_the_queries_give_what_was_scored(found: Detection, place: Path) -> None:
    frame = found.images.frame
    with open_store(place) as opened:
        flagged = ask(opened, "flagged-images").frame
        assert len(flagged) == frame["flagged"].sum() > 0
        merged = flagged.merge(frame, on=["image", "condition"], suffixes=("", "_here"))
        assert len(merged) == len(flagged)
        assert (merged["score"] == merged["score_here"]).all() and (merged["true"] == merged["class"]).all()
        assert (merged["predicted"] == merged["predicted_here"]).all() and (merged["file"] == merged["file_here"]).all()
        assert set(flagged["detector"]) == {"edges-deviation"} and set(flagged["detector_id"]) == {found.id}
        assert ask(opened, "flagged-images", {"detector": "energy"}).frame.empty
        some = ask(opened, "flagged-images", {"detector": found.id[:9], "on_condition": "typo"}).frame
        assert len(some) == frame[frame["condition"] != "natural"]["flagged"].sum()

        known = frame[np.isfinite(frame["score"])].iloc[0]
        on = {"image": known["image"][:20], "on_condition": known["condition"]}
        against = ask(opened, "edges-against", on).frame
        assert against["rank"].tolist() == list(range(1, 11))
        assert against["deviation"].abs().is_monotonic_decreasing
        listed = [f"{e} {z:+.1f}" for e, z in zip(against["edge"][:3], against["deviation"][:3], strict=True)]
        assert ", ".join(listed) == known["against"]
        nothing = ask(opened, "edges-against", {"image": "f" * 64})
        assert nothing.frame.empty and "no stored score of this image" in " ".join(nothing.notes)
        with pytest.raises(InputError, match="is the beginning of several images"):
            ask(opened, "edges-against", {"image": ""})


@pytest.mark.slow
def test_images_of_a_folder_are_scored(spec: Spec, place: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/b.png", ".hidden.png"):
        Image.fromarray(rng.integers(0, 255, (50, 70, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "text.txt").write_text("no image")
    before = None
    with open_store(place) as opened:
        before = len(opened.fits(thing="scores"))
    found = detect(spec, CHEAP, folder=tmp_path, location=place, **RATE)
    assert sorted(found.images.frame["file"]) == ["a.png", "deep/b.png"] and found.images.frame["flagged"].all()
    assert "condition" not in found.images.frame
    assert any("left out" in note and "broken.png" in note for note in found.images.notes)
    with open_store(place) as opened:
        assert len(opened.fits(thing="scores")) == before
    (tmp_path / "a.png").unlink()
    (tmp_path / "deep" / "b.png").unlink()
    with pytest.raises(InputError, match="none of its 1 image files can be read"):
        detect(spec, CHEAP, folder=tmp_path, location=place, **RATE)
    with pytest.raises(InputError, match="expected a folder with image files, found none"):
        detect(spec, CHEAP, folder=tmp_path / "deep", location=place, **RATE)


def test_warnings_are_notes_of_the_table(place: Path, digits_model) -> None:
    """Logits 10,000 times as large: the softmax of an image is exactly one class, and an attack finds no gradient."""
    certain = replace(digits_model, module=deepcopy(digits_model.module))
    certain.module.head.weight.data *= 1e4
    certain.module.head.bias.data *= 1e4
    spec = parse_spec(SPEC.replace('kind = "typographic"\ntext = "other class"', 'kind = "fgsm"\neps = "8/255"'))
    found = detect(spec, "pixels-mahalanobis", location=place, model=certain, **RATE)
    assert sum("fgsm" in note and "the gradient vanishes" in note for note in found.images.notes) > 1


@pytest.mark.slow
def test_the_command_prints_flagged_images(found: Detection, place: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    cheap = ("--detector", "edges-deviation", "--param", "method=eap", "--param", "form=block", "--no-progress")
    command = ("detect", tmp_path / "spec.toml", "--store", place, "--false-alarms", "0.2", *cheap)
    printed = rows(*command)
    frame = found.images.frame
    assert printed["image"].tolist() == frame["image"][frame["flagged"]].tolist() and printed["flagged"].all()
    assert len(rows(*command, "--all")) == len(frame)
    assert "flagged-images" in run("detect", "--help").stdout


def test_what_cannot_be_detected_is_an_error(spec: Spec, place: Path, tmp_path: Path) -> None:
    other = spec.model_copy(update={"name": "other"})
    with pytest.raises(InputError, match=r"run 'other': it is not in the store; index its spec first"):
        detect(other, CHEAP, location=place)
    with pytest.raises(InputError, match=r"0.05 needs at least 19 selection images, got 12"):
        detect(spec, "energy", location=place)
    (tmp_path / "spec.toml").write_text(SPEC)
    command = ("detect", tmp_path / "spec.toml", "--store", place)
    assert "unknown detector 'edges'" in refused(*command, "--detector", "edges")
    wrong = ("--detector", "energy", "--param", "method=eap")
    assert "unknown parameter 'method'" in refused(*command, *wrong)
