"""Predictions: accuracy, and success of an attack, which is not its complement."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.images import CONDITIONS, ImageSource, Predictions, Tally, predict, select_images
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import attack, target_of
from circuitstore.models import ViT

NATURAL, TYPOGRAPHIC = CONDITIONS.resolve("natural"), CONDITIONS.resolve("typographic")
AIMLESS = CONDITIONS.resolve("typographic", {"text": "iPod"})


@pytest.mark.slow
@pytest.mark.parametrize("k", range(0, 10, 3))
@pytest.mark.parametrize("condition", [NATURAL, TYPOGRAPHIC, AIMLESS], ids=lambda c: c.text)
def test_a_tally_against_a_plain_count(digits: ImageSource, digits_model: ViT, k: int, condition) -> None:
    cls, seed = digits.classes[k], 5
    refs = digits.candidates(cls)
    batch = Batch(digits, cls, refs, (), seed)
    clean, read = predict(digits_model, batch.views), predict(digits_model, attack(condition, batch))
    target = target_of(condition, digits, cls, seed)
    found = Predictions(digits, digits_model, seed).tally(cls, refs, condition)
    correct = clean == cls.class_index
    if condition is NATURAL:
        assert found == Tally(len(refs), int(correct.sum()))
        return
    turned = correct & (read == target if target is not None else read != cls.class_index)
    assert found == Tally(len(refs), int(correct.sum()), int((read == cls.class_index).sum()), int(turned.sum()))
    assert found.success == turned.sum() / correct.sum()
    assert found.accuracy == correct.mean() and found.attacked_accuracy == (read == cls.class_index).mean()


def test_success_is_not_the_complement_of_accuracy() -> None:
    """An image that was wrong before the attack does not count as success, nor does one predicted as a third class."""
    assert Tally(tried=10, correct=5, attacked_correct=3, succeeded=1).success == 1 / 5
    assert Tally(tried=4, correct=0, attacked_correct=1, succeeded=0).success is None
    assert Tally(tried=0, correct=0).accuracy is None and Tally(tried=3, correct=1).success is None


def test_every_image_is_run_once(digits: ImageSource, digits_model: ViT, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(self: ViT, images):
        seen.append(len(images))
        return logits(self, images)

    logits = ViT.logits
    monkeypatch.setattr(ViT, "logits", counted)
    predictions, cls = Predictions(digits, digits_model), digits.classes[3]
    chosen = select_images(predictions, cls, per_class=24, rule="successful", condition=TYPOGRAPHIC)
    predictions.tally(cls, chosen.tried, TYPOGRAPHIC)
    select_images(predictions, cls, per_class=24)
    predictions.tally(cls, chosen.tried, NATURAL)
    assert sum(seen) == 2 * len(chosen.tried)  # unattacked and attacked
    assert len(chosen.tried) < 40


def test_only_as_many_candidates_are_tried_as_are_missing(digits: ImageSource, digits_model: ViT) -> None:
    predictions = Predictions(digits, digits_model)
    for cls in digits.classes:
        chosen = select_images(predictions, cls, per_class=8)
        right = predictions.correct(cls, chosen.tried)
        last = np.flatnonzero(
            right & [ref in (*chosen.discovery, *chosen.selection, *chosen.report) for ref in chosen.tried]
        )
        assert len(chosen.tried) - 1 - last[-1] < 8


def test_the_reason_for_too_few_images(digits: ImageSource, digits_model: ViT) -> None:
    predictions = Predictions(digits, digits_model)
    cls = digits.classes[8]
    few = select_images(predictions, cls, per_class=400)
    tally = predictions.tally(cls, few.tried, TYPOGRAPHIC)
    assert few.why.startswith(
        f"{tally.correct} of {tally.tried} candidates are classified as 'eight' (class 8), most often 'eight' ("
    )
    turned = select_images(predictions, cls, per_class=400, rule="successful", condition=TYPOGRAPHIC)
    word = digits.name_of(target_of(TYPOGRAPHIC, digits, cls, 0) or 0)
    message = f"; the word {word!r} turns {tally.succeeded} of {tally.correct} into {word!r}; predicted: "
    assert message in turned.why and turned.why in turned.warnings[-1]
    assert "there are " in select_images(predictions, cls, per_class=400, rule="all").why
    assert select_images(predictions, cls, per_class=8).why == ""
