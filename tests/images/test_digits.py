# pyright: reportAttributeAccessIssue=false
"""The bundled digits against scikit-learn's copy, their drawing, and their source."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, open_source
from circuitstore.images.digits import WORDS, draw_digit, draw_paper, held_out, load_digits
from circuitstore.models import ViT, load_model
from hypothesis import given
from hypothesis import strategies as st
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


BLANK = np.zeros((64, 64), np.uint8)


def test_drawing_enlarges_fourfold_in_the_middle() -> None:
    pixels = load_digits().images[0]
    image = draw_digit(pixels, BLANK)
    assert image.shape == (64, 64, 3)
    assert not np.delete(image, np.s_[16:48], 0).any() and not np.delete(image, np.s_[16:48], 1).any()
    expected = np.floor(pixels.astype(float) * 170 / 16 + 0.5).astype(np.uint8)
    for down, right in np.ndindex(4, 4):
        assert np.array_equal(image[16 + down : 48 : 4, 16 + right : 48 : 4, 0], expected)
    assert np.ptp(image, axis=2).max() == 0


@given(down=st.integers(-16, 16), right=st.integers(-16, 16))
def test_a_moved_digit_stays_whole(down: int, right: int) -> None:
    pixels = load_digits().images[1]
    moved = draw_digit(pixels, BLANK, (down, right))
    assert np.array_equal(moved, np.roll(draw_digit(pixels, BLANK), (down, right), (0, 1)))


def test_dimming() -> None:
    assert draw_digit(np.full((8, 8), 16, np.uint8), BLANK, brightness=0.1).max() == 17


@given(seed=st.text(max_size=8))
def test_ink_is_added_to_the_paper(seed: str) -> None:
    paper, pixels = draw_paper(seed), load_digits().images[2]
    assert np.array_equal(
        draw_digit(pixels, paper).astype(int) - draw_digit(pixels, BLANK), paper[..., None].repeat(3, -1)
    )


@given(seed=st.text(max_size=8))
def test_paper_is_grey_with_a_slope_and_noise(seed: str) -> None:
    """A plane fits the paper except for the noise, whose variance is that of 13 equally likely levels."""
    paper = draw_paper(seed)
    assert paper.shape == (64, 64) and paper.min() >= 2 and paper.max() <= 77
    assert np.array_equal(paper, draw_paper(seed)) and not np.array_equal(paper, draw_paper(seed + "x"))
    rows, columns = np.mgrid[:64, :64] - 31.5
    basis = np.stack([np.ones(4096), rows.ravel(), columns.ravel()], 1)
    plane, *_ = np.linalg.lstsq(basis, paper.ravel().astype(float))
    assert 22 <= plane[0] <= 57 and np.abs(plane[1:] * 32).max() <= 9
    noise = paper.ravel() - basis @ plane
    assert np.abs(noise).max() < 8.5 and 3.4 < noise.std() < 4.1


def test_papers_differ_between_digits(digits: ImageSource) -> None:
    corners = [digits.view(ref)[:16, :16] for ref in digits.candidates(digits.classes[0])]
    assert len({c.tobytes() for c in corners}) == len(corners) > 50
    assert np.ptp([c.mean() for c in corners]) > 15


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
    drawn = draw_digit(data.images[data.hashes.index(ref.hash)], draw_paper(ref.hash))
    assert np.array_equal(digits.view(ref), drawn)


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
