"""Example images: identity, checksum, norms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Example, ExampleImages, SeenImage, examples_id
from circuitstore.testing.factories import make_examples, make_item
from hypothesis import given
from hypothesis import strategies as st


def seen(pixels: np.ndarray) -> SeenImage:
    return SeenImage(pixels, "three", 0.75)


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_norms_are_those_of_the_difference_of_the_pixels(height: int, width: int, seed: int) -> None:
    clean, attacked = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    example = Example("ab", "1.png", seen(clean), seen(attacked))
    offsets = [abs(int(a) - int(b)) / 255 for a, b in zip(attacked.ravel(), clean.ravel(), strict=True)]
    assert example.linf == pytest.approx(max(offsets))
    assert example.l2 == pytest.approx(sum(offset**2 for offset in offsets) ** 0.5)


def test_a_natural_image_has_no_perturbation() -> None:
    example = Example("ab", "1.png", seen(np.zeros((2, 3, 3), np.uint8)))
    assert (example.perturbation, example.linf, example.l2) == (None, None, None)
    assert ExampleImages.of(make_item(), 1, (example,)).to_pandas()["attacked_as"].tolist() == [None]


def test_the_id_is_known_before_the_images_and_depends_on_the_question_only() -> None:
    item, count = make_item(attack="typographic"), 2
    images = make_examples(item, count)
    assert images.id == examples_id(item, count) == make_examples(item, count, seed=1).id
    other_recipe = replace(item, recipe=replace(item.recipe, seed=9))
    assert examples_id(other_recipe, count) == images.id
    others = [
        examples_id(item, 3),
        examples_id(make_item(), count),
        examples_id(make_item(class_index=1, attack="typographic"), count),
        examples_id(replace(item, selection=replace(item.selection, group="left")), count),
        examples_id(replace(item, model=replace(item.model, id="other")), count),
    ]
    assert len({images.id, *others}) == 6


def test_the_checksum_covers_pixels_and_predictions() -> None:
    images = make_examples(make_item(attack="typographic"), 2)
    first = images.examples[0]
    assert first.attacked is not None
    pixels = first.attacked.pixels.copy()
    pixels[0, 0, 0] ^= 1
    changed = [
        replace(first, hash="other"),
        replace(first, attacked=replace(first.attacked, pixels=pixels)),
        replace(first, attacked=None),
        replace(first, clean=replace(first.clean, predicted="other")),
        replace(first, clean=replace(first.clean, probability=0.125)),
    ]
    sums = {replace(images, examples=(one, *images.examples[1:])).sha256 for one in changed}
    assert len({images.sha256, *sums}) == 6
