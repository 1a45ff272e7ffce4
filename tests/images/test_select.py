"""Selection: which images qualify, their order, and splits that do not depend on the request."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import (
    CONDITIONS,
    SPLITS,
    ImageRef,
    ImageSource,
    Predictions,
    Selected,
    open_source,
    order_candidates,
    predict,
    select_images,
)
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import attack, target_of
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st

TYPOGRAPHIC = CONDITIONS.resolve("typographic")
REFS = st.lists(st.binary(max_size=4), max_size=20, unique=True).map(
    lambda contents: [ImageRef(hashlib.sha256(c).hexdigest(), str(c)) for c in contents]
)


def every(selected: Selected) -> list[ImageRef]:
    return [r for split in SPLITS for r in getattr(selected, split)]


@given(REFS, st.integers(0, 3), st.data())
def test_new_images_keep_the_order_of_the_others(refs: list[ImageRef], seed: int, data) -> None:
    fewer = data.draw(st.lists(st.sampled_from(refs), unique=True)) if refs else []
    line = order_candidates(refs, seed)
    assert sorted(line, key=str) == sorted(refs, key=str)
    assert order_candidates(fewer, seed) == tuple(r for r in line if r in fewer)


@pytest.mark.parametrize("rule", ["correct", "all", "successful"])
@pytest.mark.parametrize("k", [1, 5])
def test_against_a_plain_implementation_of_the_rule(digits: ImageSource, digits_model: ViT, rule: str, k: int) -> None:
    cls = digits.classes[k]
    selected = select_images(Predictions(digits, digits_model, 3), cls, per_class=24, rule=rule, condition=TYPOGRAPHIC)
    line = order_candidates(digits.candidates(cls), 3)
    clean = predict(digits_model, np.stack([digits.view(r) for r in line]))
    attacked = predict(digits_model, attack(TYPOGRAPHIC, Batch(digits, cls, line, (), 3)))
    target = target_of(TYPOGRAPHIC, digits, cls, 3)
    qualified = {
        "all": np.ones(len(line), bool),
        "correct": clean == cls.class_index,
        "successful": (clean == cls.class_index) & (attacked == target),
    }[rule]
    for split, count in zip(SPLITS, (12, 6, 6), strict=True):
        expected = [r for r, q in zip(line, qualified, strict=True) if q and digits.split_of(r) == split][:count]
        assert list(getattr(selected, split)) == expected
    assert selected.warnings == ()


@pytest.mark.slow
def test_the_rules_differ_on_the_digits(digits: ImageSource, digits_model: ViT) -> None:
    """Otherwise the test above would prove little."""
    predictions = Predictions(digits, digits_model)
    chosen = {
        rule: [
            tuple(every(select_images(predictions, c, per_class=60, rule=rule, condition=TYPOGRAPHIC)))
            for c in digits.classes
        ]
        for rule in ("correct", "all", "successful")
    }
    assert chosen["correct"] != chosen["all"] and chosen["successful"] != chosen["correct"]


def test_the_condition_matters_only_for_successful(digits: ImageSource, digits_model: ViT) -> None:
    cls = digits.classes[5]
    natural, attacked = (
        select_images(Predictions(digits, digits_model), cls, per_class=36, condition=c)
        for c in (CONDITIONS.resolve("natural"), TYPOGRAPHIC)
    )
    assert natural == attacked


def test_no_image_is_in_two_splits(digits: ImageSource, digits_model: ViT) -> None:
    for cls in digits.classes:
        selected = select_images(Predictions(digits, digits_model), cls, per_class=36)
        assert [len(getattr(selected, s)) for s in SPLITS] == [18, 9, 9]
        assert len(set(every(selected))) == 36


def test_an_image_never_changes_its_split(digits: ImageSource, digits_model: ViT) -> None:
    """Whatever the arguments."""
    side: dict[ImageRef, str] = {}
    for per_class, rule, seed in [(8, "all", 0), (36, "correct", 1), (60, "all", 2)]:
        selected = select_images(
            Predictions(digits, digits_model, seed), digits.classes[0], per_class=per_class, rule=rule
        )
        for split in SPLITS:
            for ref in getattr(selected, split):
                assert side.setdefault(ref, split) == split


def test_more_per_class_keeps_the_first_ones(digits: ImageSource, digits_model: ViT) -> None:
    few, many = (select_images(Predictions(digits, digits_model), digits.classes[2], per_class=n) for n in (12, 36))
    for split in SPLITS:
        assert getattr(many, split)[: len(getattr(few, split))] == getattr(few, split)


def test_too_few_images_are_a_warning(digits: ImageSource, digits_model: ViT) -> None:
    selected = select_images(Predictions(digits, digits_model), digits.classes[0], per_class=400)
    (warning,) = selected.warnings
    assert warning.startswith("class 'zero': fewer images than requested (")
    assert f"{len(selected.discovery)} of 200 discovery" in warning and "choose = 'correct'" in warning


def test_undecodable_images_are_reported_and_skipped(photos: Path, imagenet_model: ViT) -> None:
    for k in (0, 2):
        path = photos / "207" / f"{k}.jpg"
        path.write_bytes(path.read_bytes()[:-300])
    source = open_source({"folder": photos}, imagenet_model)
    selected = select_images(Predictions(source, imagenet_model), source.class_named("207"), per_class=400, rule="all")
    assert len(every(selected)) == 8
    assert sorted(w.split(":")[0] for w in selected.warnings[:2]) == ["skipped 207/0.jpg", "skipped 207/2.jpg"]


def test_a_class_that_is_never_classified_correctly(photos: Path, imagenet_model: ViT) -> None:
    source = open_source({"folder": photos}, imagenet_model)
    selected = select_images(Predictions(source, imagenet_model), source.classes[0], per_class=8)
    assert every(selected) == [] and "0 of 4 discovery" in selected.warnings[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "corect"}, "unknown rule of choice 'corect'; did you mean 'correct'"),
        ({"per_class": 3}, "per_class: expected at least 4 images"),
        ({"rule": "successful"}, "'successful' needs an attack"),
        ({"rule": "successful", "condition": CONDITIONS.resolve("natural")}, "'successful' needs an attack"),
    ],
)
def test_invalid_arguments_raise(digits: ImageSource, digits_model: ViT, given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_images(Predictions(digits, digits_model), digits.classes[0], **({"per_class": 8} | given))
