# pyright: reportAttributeAccessIssue=false
"""The bundled digits against scikit-learn's copy, their drawing, and their source."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, open_source
from circuitstore.images.digits import WORDS, draw_digit, held_out, load_digits
from circuitstore.models import ViT, load_model
from sklearn import datasets
from timm.models.vision_transformer import VisionTransformer

from ..conftest import prepared


def test_the_bundled_digits_equal_scikit_learns() -> None:
    theirs, ours = datasets.load_digits(), load_digits()
    assert np.array_equal(theirs.images, ours.images)
    assert np.array_equal(theirs.target, ours.labels)


def test_hashes_are_of_the_pixels_and_all_differ() -> None:
    data = load_digits()
    assert len(set(data.hashes)) == len(data.images) == 1797
    assert data.hashes[5] == hashlib.sha256(data.images[5].tobytes()).hexdigest()


def test_drawing_enlarges_threefold_in_the_upper_part() -> None:
    pixels = load_digits().images[0]
    image = draw_digit(pixels)
    assert image.shape == (32, 32, 3)
    assert not image[24:].any() and not image[:, :4].any() and not image[:, 28:].any()
    assert np.array_equal(image[1:24:3, 5:28:3, 0], np.floor(pixels.astype(float) * 255 / 16 + 0.5).astype(np.uint8))
    assert np.array_equal(image[0:24:3, 4:28:3], image[2:24:3, 6:28:3])
    assert np.ptp(image, axis=2).max() == 0


@pytest.mark.parametrize("shift", [(2, 3), (-2, -3), (0, 5)])
def test_a_moved_digit_never_enters_the_rows_of_the_word(shift: tuple[int, int]) -> None:
    pixels = np.full((8, 8), 16, np.uint8)
    moved = draw_digit(pixels, shift)[:24, :, 0] > 0
    rows, columns = np.mgrid[:24, :32]
    inside = (rows - shift[0] >= 0) & (rows - shift[0] < 24) & (columns - shift[1] >= 4) & (columns - shift[1] < 28)
    assert np.array_equal(moved, inside)
    assert not draw_digit(pixels, shift)[24:].any()


def test_dimming() -> None:
    assert draw_digit(np.full((8, 8), 16, np.uint8), brightness=0.2).max() == 51


def test_the_source_holds_the_held_out_digits_only(digits: ImageSource) -> None:
    data = load_digits()
    assert [c.name for c in digits.classes] == list(WORDS)
    assert [c.class_index for c in digits.classes] == list(range(10))
    for k, cls in enumerate(digits.classes):
        ours = {r.hash for r in digits.candidates(cls)}
        assert ours == {h for h, label in zip(data.hashes, data.labels, strict=True) if label == k and held_out(h)}
    assert digits.skipped == () and digits.notices == ()


def test_the_view_of_a_digit_is_its_drawing(digits: ImageSource) -> None:
    data = load_digits()
    ref = digits.candidates(digits.classes[3])[0]
    assert np.array_equal(digits.view(ref), draw_digit(data.images[data.hashes.index(ref.hash)]))


def vit(n_classes: int, labels: tuple[str, ...] | None = None) -> ViT:
    module = VisionTransformer(img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=n_classes)
    return load_model(prepared(module), labels=labels)


@pytest.mark.parametrize("names", [WORDS, tuple("0123456789")])
def test_a_model_with_its_own_order_of_labels(names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    source = open_source("digits", vit(10, names[::-1]))
    indices = {c.name: c.class_index for c in source.classes}
    assert indices["zero"] == 9 and indices["nine"] == 0
    assert source.classes[0].name == "nine"


def test_a_model_without_ten_logits_raises() -> None:
    with pytest.raises(InputError, match="10 logits, this one has 7"):
        open_source("digits", vit(7))
