"""Corruptions against plain definitions; they are independent of condition, other images and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import CORRUPTIONS, ImageSource, needs_attack, open_source
from circuitstore.images.batch import Batch
from circuitstore.images.corruptions import corrupt
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d


def batch(source: ImageSource, n: int = 6, seed: int = 0) -> Batch:
    first, second = source.classes[:2]
    refs = source.candidates(first)[:n]
    return Batch(source, first, refs, source.candidates(second)[: len(refs)], seed)


def views(source: ImageSource, refs: tuple) -> list[np.ndarray]:
    return [source.view(r) for r in refs]


@given(n=st.integers(1, 12))
def test_every_image_is_contrasted_with_its_partner(digits: ImageSource, n: int) -> None:
    images = batch(digits, n)
    assert np.array_equal(corrupt(CORRUPTIONS.resolve("other-class"), images), views(digits, images.partners))


def test_pairing_needs_partners(digits: ImageSource) -> None:
    images = batch(digits)
    with pytest.raises(InputError, match="no class that 'zero' is contrasted with has a usable image in this split"):
        corrupt(CORRUPTIONS.resolve("other-class"), Batch(digits, images.cls, images.refs, (), 0))


def test_mean_image_is_one_for_all(digits: ImageSource) -> None:
    corrupted = corrupt(CORRUPTIONS.resolve("mean-image", {"images": 20}), batch(digits, seed=3))
    assert np.array_equal(corrupted, [digits.mean_view(20)] * 6)


@pytest.mark.parametrize("radius", [0.02, 0.1, 0.3])
def test_blur_is_a_gaussian(photos: Path, imagenet_model: ViT, radius: float) -> None:
    images = batch(open_source({"folder": photos}, imagenet_model))
    exact = images.views.astype(float)
    for axis in (1, 2):
        exact = gaussian_filter1d(exact, radius * 64, axis, mode="nearest", radius=int(np.ceil(3 * radius * 64)))
    corrupted = corrupt(CORRUPTIONS.resolve("blur", {"radius": radius}), images)
    assert np.abs(corrupted - exact).max() < 0.6  # half a level, and the rounding in between


def test_blur_keeps_a_uniform_image(tmp_path: Path, imagenet_model: ViT) -> None:
    from PIL import Image

    (tmp_path / "tench").mkdir()
    Image.new("RGB", (64, 64), (0, 77, 255)).save(tmp_path / "tench" / "a.png")
    source = open_source({"folder": tmp_path}, imagenet_model)
    images = Batch(source, source.classes[0], source.candidates(source.classes[0]), (), 0)
    assert np.array_equal(corrupt(CORRUPTIONS.resolve("blur"), images), images.views)


@pytest.mark.parametrize("tiles", [2, 8, 16])
def test_patch_shuffle_moves_whole_tiles(photos: Path, imagenet_model: ViT, tiles: int) -> None:
    images = batch(open_source({"folder": photos}, imagenet_model))
    side = 64 // tiles

    def cut(image: np.ndarray) -> list[bytes]:
        places = [(i, j) for i in range(tiles) for j in range(tiles)]
        return [image[i * side :, j * side :][:side, :side].tobytes() for i, j in places]

    corrupted = corrupt(CORRUPTIONS.resolve("patch-shuffle", {"tiles": tiles}), images)
    assert not np.array_equal(corrupted, images.views)
    for before, after in zip(images.views, corrupted, strict=True):
        assert sorted(cut(before)) == sorted(cut(after))


def test_tiles_that_do_not_divide_the_image_raise(digits: ImageSource) -> None:
    with pytest.raises(InputError, match=r"tiles: 7 does not divide an image of 32 × 32 pixels; expected one of 2, 4,"):
        corrupt(CORRUPTIONS.resolve("patch-shuffle", {"tiles": 7}), batch(digits))


def test_the_twin_is_the_image_itself(digits: ImageSource) -> None:
    images = batch(digits)
    assert np.array_equal(corrupt(CORRUPTIONS.resolve("unattacked-twin"), images), views(digits, images.refs))
    assert [k for k in CORRUPTIONS if needs_attack(CORRUPTIONS.resolve(k))] == ["unattacked-twin"]


@pytest.mark.parametrize("kind", [k for k in CORRUPTIONS if k != "other-class"])
def test_the_corruption_does_not_depend_on_other_images_or_their_order(digits: ImageSource, kind: str) -> None:
    corruption, whole = CORRUPTIONS.resolve(kind), batch(digits, n=8)
    together = corrupt(corruption, whole)
    backwards = corrupt(corruption, Batch(digits, whole.cls, whole.refs[::-1], (), 0))
    assert np.array_equal(together, backwards[::-1])
    separate = [corrupt(corruption, Batch(digits, whole.cls, (r,), (), 0))[0] for r in whole.refs]
    assert np.array_equal(together, separate)


def test_shuffles_differ_between_images_and_seeds(digits: ImageSource) -> None:
    def shuffled(seed: int) -> np.ndarray:
        return corrupt(CORRUPTIONS.resolve("patch-shuffle"), batch(digits, seed=seed))

    assert np.array_equal(shuffled(0), shuffled(0))
    assert not any(np.array_equal(a, b) for a, b in zip(shuffled(0), shuffled(1), strict=True))
