"""Conditions: the right word on the right image, independent of other images and of their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import Condition
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS, ImageSource, changes_images, class_cycle, is_control, open_source, target_of
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import attack
from circuitstore.images.seeds import Draws
from circuitstore.images.words import CONTROLS
from circuitstore.images.writing import PLAIN, write
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st

NATURAL = CONDITIONS.resolve("natural")
TYPOGRAPHIC = CONDITIONS.resolve("typographic")
SCATTERED = CONDITIONS.resolve("typographic", {"place": "random", "number": 2, "colour": "#ff0000", "size": 0.05})


def batch(source: ImageSource, k: int = 0, n: int = 6, seed: int = 0) -> Batch:
    cls = source.classes[k]
    return Batch(source, cls, source.candidates(cls)[:n], (), seed)


def test_natural_changes_nothing(digits: ImageSource) -> None:
    images = batch(digits)
    assert np.array_equal(attack(NATURAL, images), np.stack([digits.view(r) for r in images.refs]))
    assert not changes_images(NATURAL) and target_of(NATURAL, digits, images.cls, 0) is None


@given(seed=st.integers(0, 20), k=st.integers(0, 9))
def test_the_word_is_that_of_the_class_two_places_later(digits: ImageSource, seed: int, k: int) -> None:
    images = batch(digits, k, n=2, seed=seed)
    cycle = class_cycle(digits.classes, seed)
    at = cycle.index(images.cls)
    written = cycle[(at + 2) % 10]
    expected = [write(digits.view(r), written.name, PLAIN, Draws()) for r in images.refs]
    assert np.array_equal(attack(TYPOGRAPHIC, images), expected)
    target = target_of(TYPOGRAPHIC, digits, images.cls, seed)
    assert target == written.class_index != images.cls.class_index


def test_with_two_classes_the_word_is_that_of_the_other(photos: Path, imagenet_model: ViT) -> None:
    source = open_source({"folder": photos, "classes": {"207": 207, "n02123045": 281}}, imagenet_model)
    assert [target_of(TYPOGRAPHIC, source, c, 0) for c in source.classes] == [281, 207]


def test_other_class_needs_two_classes(photos: Path, imagenet_model: ViT) -> None:
    source = open_source({"folder": photos, "classes": {"207": 207}}, imagenet_model)
    with pytest.raises(InputError, match=r"needs two classes .* but .* has one; give the text itself"):
        attack(TYPOGRAPHIC, batch(source))
    named = CONDITIONS.resolve("typographic", {"text": "cat"})
    assert attack(named, batch(source)).shape == (6, 64, 64, 3)


def test_the_plain_word_is_written_for_a_class_named_by_its_id(photos: Path, imagenet_model: ViT) -> None:
    source = open_source({"folder": photos}, imagenet_model)
    cycle = class_cycle(source.classes, 0)
    before = cycle[(cycle.index(source.class_named("n02123045")) - 2) % 3]
    images = Batch(source, before, source.candidates(before)[:1], (), 0)
    assert np.array_equal(attack(TYPOGRAPHIC, images)[0], write(images.views[0], "tabby", PLAIN, Draws()))
    assert target_of(TYPOGRAPHIC, source, before, 0) == 281


def test_a_text_targets_the_class_that_it_names(digits: ImageSource) -> None:
    def target(text: str) -> int | None:
        return target_of(CONDITIONS.resolve("typographic", {"text": text}), digits, digits.classes[0], 0)

    assert (target("Seven"), target("ceiling")) == (7, None)


VARIANTS = {"typographic": {"place": "random", "number": 2, "size": 0.05}, "random-signs": {"eps": "8/255"}}
COMPUTED = [CONDITIONS.resolve(k, VARIANTS.get(k)) for k in CONDITIONS if k not in ("folder", "fgsm", "pgd")]


@pytest.mark.parametrize("condition", [TYPOGRAPHIC, *COMPUTED], ids=lambda c: c.text)
def test_the_attack_does_not_depend_on_other_images_or_their_order(digits: ImageSource, condition) -> None:
    whole = batch(digits, n=8)
    together = attack(condition, whole)
    backwards = attack(condition, Batch(digits, whole.cls, whole.refs[::-1], (), 0))
    assert np.array_equal(together, backwards[::-1])
    separate = [attack(condition, Batch(digits, whole.cls, (r,), (), 0))[0] for r in whole.refs]
    assert np.array_equal(together, separate)


def test_random_places_differ_between_images_and_seeds(digits: ImageSource) -> None:
    def red(seed: int) -> np.ndarray:
        return (attack(SCATTERED, batch(digits, n=4, seed=seed)) == [255, 0, 0]).all(-1)

    assert len({mask.tobytes() for mask in red(0)}) == 4
    assert not np.array_equal(red(0), red(1))


def test_a_control_differs_from_its_attack_only_as_a_control() -> None:
    sevens = [CONDITIONS.resolve("typographic", {"text": "seven", **more}) for more in ({}, {"size": 0.3})]
    controls = [CONDITIONS.resolve("typographic", {"text": "seven", "control": c}) for c in CONTROLS if c != "none"]
    assert all(is_control(control, sevens[0]) for control in controls)
    others = [NATURAL, TYPOGRAPHIC, sevens[1], *controls]
    assert not any(is_control(control, other) for control in controls for other in others)
    assert not any(is_control(other, sevens[0]) for other in (NATURAL, TYPOGRAPHIC, *sevens))


def test_random_signs_are_the_control_of_gradient_attacks_with_the_same_budget() -> None:
    signs = CONDITIONS.resolve("random-signs", {"eps": 8 / 255})
    budgets = [(norm, eps) for norm in ("linf", "l2") for eps in ("8/255", 1.0)]
    made = {(norm, eps): Condition.of("pgd", {"norm": norm, "eps": eps}) for norm, eps in budgets}
    assert [key for key, attack in made.items() if is_control(signs, attack)] == [("linf", "8/255")]
    assert not is_control(signs, TYPOGRAPHIC) and not is_control(signs, signs)
