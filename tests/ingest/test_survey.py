"""The survey is reported before anything is scored, and classifies no more images than the run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore.images import CONDITIONS, Predictions, open_source, select_images
from circuitstore.ingest import dry_run, index, parse_spec, preview
from circuitstore.ingest.survey import COLUMNS
from circuitstore.models import ViT, load_model
from circuitstore.results import Table
from circuitstore.store import open_store

SPEC = """
name = "surveyed"
model = "digits"
seed = 3
[images]
source = "digits"
per_class = 16
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
[[condition]]
kind = "typographic"
text = "iPod"
[[recipe]]
method = "eap"
form = "block"
[[extract]]
edges = 9
"""


class Seen:
    """The arguments of `on_survey`, and the number of circuits in the store at that moment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.surveys, self.circuits = folder, list[Table](), list[int]()

    def __call__(self, survey: Table) -> None:
        self.surveys.append(survey)
        with open_store(self.folder) as store:
            self.circuits.append(len(store.circuits()))


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seen]:
    folder = tmp_path_factory.mktemp("surveyed")
    seen = Seen(folder)
    result = index(parse_spec(SPEC), location=folder, progress=False, on_survey=seen)
    assert not result.failed and result.survey is seen.surveys[0]
    return folder, seen


@pytest.mark.slow
def test_the_table_comes_before_the_first_item(surveyed: tuple[Path, Seen]) -> None:
    _, seen = surveyed
    assert len(seen.surveys) == 1 and seen.circuits == [0]


def test_facts_of_model_and_images(surveyed: tuple[Path, Seen]) -> None:
    facts = surveyed[1].surveys[0].facts
    assert facts["model"] == "digits, 4 layers of 4 heads, 10 classes"
    assert facts["weights"] == "shipped with circuitstore"
    assert facts["pixels"] == load_model("digits").preprocess.text
    assert facts["images"] == "digits: 688 of 10 classes"


def test_a_row_for_each_class_and_condition(surveyed: tuple[Path, Seen], digits_model: ViT) -> None:
    frame = surveyed[1].surveys[0].frame
    assert list(frame.columns) == [name for name in COLUMNS if name != "image_group"] and len(frame) == 6
    source = open_source("digits", digits_model)
    for row in frame.to_dict("records"):
        cls = source.class_named(row["class"])
        predictions = Predictions(source, digits_model, seed=3)
        chosen = select_images(predictions, cls, per_class=16)
        assert row["tried"] == len(chosen.tried)
        assert row["accuracy"] == np.mean(predictions.of(cls, chosen.tried) == cls.class_index)
        assert (row["discovery"], row["selection"], row["report"]) == (8, 4, 4)
        if row["condition"] == "natural":
            assert np.isnan(row["attacked_accuracy"]) and np.isnan(row["success"])
            assert pd.isna(row["target"]) and pd.isna(row["word"])
            continue
        text = "iPod" if "text=iPod" in row["condition"] else "other class"
        condition = CONDITIONS.resolve("typographic", {"text": text})
        read, right = predictions.of(cls, chosen.tried, condition), predictions.correct(cls, chosen.tried)
        assert row["attacked_accuracy"] == np.mean(read == cls.class_index)
        if text == "iPod":
            assert (row["word"], row["target"]) == ("iPod", "any other")
            assert row["success"] == np.mean(read[right] != cls.class_index)
        else:
            assert row["word"] == row["target"] != cls.name
            assert row["success"] == np.mean(read[right] == source.class_named(row["target"]).class_index)


def test_the_figures_are_stored_with_each_answer(surveyed: tuple[Path, Seen]) -> None:
    folder, seen = surveyed
    rows = {(r["class"], r["condition"]): r for r in seen.surveys[0].frame.to_dict("records")}
    with open_store(folder) as store:
        for item in store.items().to_dict("records"):
            tally = store.discovery(item["id"]).provenance["tally"]
            row = rows[item["class"], item["condition"]]
            assert tally["correct"] / tally["tried"] == row["accuracy"]
            if item["condition"] == "natural":
                assert tally["succeeded"] is tally["attacked_correct"] is None
            else:
                assert tally["succeeded"] / tally["correct"] == row["success"]


@pytest.mark.slow
def test_stored_items_are_not_surveyed(surveyed: tuple[Path, Seen]) -> None:
    folder, _ = surveyed
    seen = Seen(folder)
    again = index(parse_spec(SPEC), location=folder, progress=False, on_survey=seen)
    assert again.skipped == 6 and seen.surveys == [] and again.survey is not None and again.survey.frame.empty
    dry_run(parse_spec(SPEC), location=folder, on_survey=seen)
    assert seen.surveys == []
    more = parse_spec(SPEC.replace('"seven"', '"seven", "nine"'))
    dry_run(more, location=folder, on_survey=seen)
    index(more, location=folder, progress=False, on_survey=seen)
    assert [set(survey.frame["class"]) for survey in seen.surveys] == [{"nine"}, {"nine"}]
    assert seen.surveys[0].frame.equals(seen.surveys[1].frame)


def test_a_preview_has_the_same_survey_and_stores_nothing(
    surveyed: tuple[Path, Seen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = preview(parse_spec(SPEC))
    assert seen.survey.frame.equals(surveyed[1].surveys[0].frame)
    assert [cls.name for cls in seen.classes] == ["three", "seven"]
    assert list(tmp_path.iterdir()) == []


def test_no_more_images_are_read_than_a_run_reads(monkeypatch: pytest.MonkeyPatch, digits_model: ViT) -> None:
    """Each tried candidate is classified once unattacked and once under each attack."""
    seen: list[int] = []
    logits = ViT.logits

    def counted(self: ViT, images):
        seen.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(ViT, "logits", counted)
    survey = preview(parse_spec(SPEC), digits_model).survey
    tried = survey.frame.drop_duplicates("class")["tried"].sum()
    assert sum(seen) == 3 * tried and tried < 50


@pytest.mark.slow
def test_a_lack_of_successful_images_is_explained(tmp_path: Path) -> None:
    """How many of how many predictions change, to which class, and by which word."""
    text = SPEC.replace("per_class = 16", 'per_class = 16\nchoose = "successful"').replace('"three", "seven"', '"one"')
    spec = parse_spec(text.replace('text = "iPod"', 'text = "one"'))
    result = index(spec, location=tmp_path, progress=False)
    first, *others = result.failed.values()
    assert first.startswith("class 'one': no discovery images qualify (successful): ") and not others
    assert re.search(r"; the word 'one' turns 0 of (\d+) into 'one'; predicted: 'one' \(\1\)", first)


def test_a_lack_of_correct_images_is_explained(imagenet_model: ViT, photos: Path, tmp_path: Path) -> None:
    spec = parse_spec(
        f"""
        name = "photos"
        [images]
        source = {{ folder = "{photos}" }}
        [[condition]]
        kind = "natural"
        [[recipe]]
        method = "eap"
        form = "block"
        corruption = "blur"
        [[extract]]
        edges = 3
        """
    )
    result = index(spec, model=imagenet_model, location=tmp_path, progress=False)
    assert result.survey is not None
    wrong = result.survey.frame.loc[result.survey.frame["accuracy"] == 0, "class"].tolist()
    assert wrong and len(result.failed) == len(wrong)
    for error in result.failed.values():
        assert "no discovery images qualify (correct): 0 of 10 candidates are classified as " in error
        assert ", most often '" in error
