"""Choice on selection images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from circuitstore.circuits import Proportion
from circuitstore.defence import LabelledImages
from circuitstore.defence.answers import answers
from circuitstore.defence.choosing import Candidate, Chooser, Judgement, under_attack
from circuitstore.evaluation import DEFAULT, Execution
from circuitstore.evaluation.interventions import NewHead, gated, replace_head
from circuitstore.models import LinearHead, ViT
from hypothesis import given
from hypothesis import strategies as st

from .planted_cue import cue_images, cue_model


@pytest.fixture(scope="module")
def model() -> ViT:
    return cue_model()


@pytest.fixture(scope="module")
def images(model: ViT) -> LabelledImages:
    """Three images of each of two classes, without a cue."""
    cued = cue_images(model, 3, 0).related("no cue")
    return LabelledImages.of(model, cued.images, cued.labels)


def constant(model: ViT, index: int) -> NewHead:
    """A last layer that always answers one class."""
    weight, bias = torch.zeros(3, model.d_model), torch.eye(3)[index]
    return replace_head(model, LinearHead(weight, bias))


@pytest.fixture(scope="module")
def edits(model: ViT) -> list[NewHead]:
    return [constant(model, index) for index in range(3)]


@given(
    st.lists(st.tuples(st.sampled_from([0.8, 0.9, 0.95, 1.0]), st.integers(0, 4)), min_size=1, max_size=3),
    st.booleans(),
)
def test_the_best_is_the_first_of_those_with_the_highest_gain_within_the_loss(
    model: ViT, images: LabelledImages, edits: list[NewHead], figures: list[tuple[float, int]], bounded: bool
) -> None:
    """Candidates are told apart by what they predict; the unchanged model keeps 1 and gains 2."""

    def judge(predicted: np.ndarray) -> Judgement:
        constant = len(set(predicted.tolist())) == 1
        kept, gain = figures[int(predicted[0])] if constant else (1.0, 2)
        return Judgement({"kept": Proportion(kept, 1)}, kept, (gain,))

    chooser = Chooser(model, images, judge, 0.05, DEFAULT)
    found = chooser.best([Candidate(e, {"class": i}) for i, e in enumerate(edits[: len(figures)])], bounded=bounded)
    allowed = [i for i, (kept, gain) in enumerate(figures) if gain > 2 and (kept >= 0.95 or not bounded)]
    expected = min(allowed, key=lambda i: (-figures[i][1], i)) if allowed else None
    assert found.chosen.candidate.settings == ({} if expected is None else {"class": expected})
    assert found.sweep["chosen"].tolist() == [i == expected for i in range(len(figures))]
    assert found.sweep["kept"].tolist() == [kept for kept, _ in figures]


def test_what_has_to_be_beaten_is_kept_if_nothing_is_better(
    model: ViT, images: LabelledImages, edits: list[NewHead]
) -> None:
    progress: list[int] = []

    def judge(predicted: np.ndarray) -> Judgement:
        return Judgement({}, 1.0, (float(predicted.mean()),))

    def count(done: int, of: int) -> None:
        assert done == of
        progress.append(done)

    chooser = Chooser(model, images, judge, 0.0, Execution(progress=count))
    first = chooser.best([Candidate(edits[1])]).chosen
    again = chooser.best([Candidate(edits[0]), Candidate(edits[1])], first)
    assert again.chosen is first and not again.sweep["chosen"].any()
    assert progress == [1, 2, 3, 4]  # the unchanged model runs once


@pytest.mark.parametrize(("loss", "chosen"), [(2, False), (3, True)])
def test_a_defence_that_costs_too_many_clean_images_is_not_chosen(
    model: ViT, images: LabelledImages, edits: list[NewHead], loss: int, chosen: bool
) -> None:
    """A last layer that always answers 1 is right on attacked images of 1, and loses three unattacked images of 0."""
    misread = cue_images(model, 3, 1)
    attacked = misread[(misread.relations == "misleading") & (misread.labels.numpy() == 1)]
    some = LabelledImages.of(model, attacked.images, attacked.labels)
    found = under_attack(model, images, some, loss, DEFAULT).best([Candidate(edits[1], {"class": 1})])
    assert found.sweep["clean"].tolist() == [0.5] and found.sweep["attacked"].tolist() == [1.0]
    assert found.sweep["allowed"].tolist() == found.sweep["chosen"].tolist() == [chosen]
    before = found.chosen.candidate.edit is None
    assert before is not chosen


class Bright:
    """A gate that flags the images with the larger sums of pixels, and counts the images that it scores."""

    id, threshold, scored = "bright", 0.0, 0

    def scores(self, model: ViT, images: torch.Tensor) -> torch.Tensor:
        self.scored += len(images)
        return images.sum(dim=(1, 2, 3))


def test_an_edit_behind_a_gate_is_judged_as_if_it_had_run(
    model: ViT, images: LabelledImages, edits: list[NewHead]
) -> None:
    """Its answers are those of the edit for flagged images, and of the unchanged model for the others."""
    gate, seen = Bright(), []
    gate.threshold = float(images.images.sum(dim=(1, 2, 3)).median())

    def judge(predicted: np.ndarray) -> Judgement:
        seen.append(predicted.tolist())
        return Judgement({}, 1.0, (0.0,))

    behind = [gated(edit, gate) for edit in edits]
    Chooser(model, images, judge, 0.0, DEFAULT).best([Candidate(edit) for edit in (*behind, *edits)])
    assert gate.scored == len(images)
    ran = [answers(model, edit, images.images).predicted.tolist() for edit in (*behind, *edits, None)]
    assert sorted(seen) == sorted(ran) and len({tuple(r) for r in ran}) > 3


def test_nothing_to_choose_from_leaves_the_model_unchanged(model: ViT, images: LabelledImages) -> None:
    nothing: Sequence[Candidate] = ()
    found = under_attack(model, images, images, 0, DEFAULT).best(nothing)
    assert found.chosen.candidate.edit is None and found.tried == () and found.sweep.empty
