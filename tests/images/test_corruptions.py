"""Corruptions against plain definitions; they are independent of condition, other images and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import CORRUPTIONS, ImageSource, needs_attack, open_source, predict
from circuitstore.images.batch import Batch
from circuitstore.images.corruptions import corrupt, draws_on
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


def test_class_mean_is_the_mean_of_the_partners_class(digits: ImageSource) -> None:
    images = batch(digits, n=3)
    third = digits.classes[2]
    mixed = Batch(digits, images.cls, images.refs, (*images.partners[:2], digits.candidates(third)[0]), 5)
    corrupted = corrupt(CORRUPTIONS.resolve("class-mean", {"images": 12}), mixed)
    for cls, view in zip([digits.classes[1]] * 2 + [third], corrupted, strict=True):
        refs = [r for r in digits.candidates(cls) if digits.split_of(r) == "discovery"][:12]
        assert np.abs(np.mean(views(digits, tuple(refs)), axis=0) - view).max() <= 0.5 + 1e-9


def test_class_mean_draws_on_the_discovery_images_of_its_classes(digits: ImageSource) -> None:
    corruption = CORRUPTIONS.resolve("class-mean", {"partners": "five, eight", "images": 4})
    drawn = draws_on(corruption, digits, digits.class_named("three"), seed=0, count=8)
    assert {digits.class_of(ref).name for ref in drawn} == {"five", "eight"} and len(drawn) == 8
    assert {digits.split_of(ref) for ref in drawn} == {"discovery"}
    with pytest.raises(InputError, match="class-mean: partners: unknown class 'ten'"):
        draws_on(CORRUPTIONS.resolve("class-mean", {"partners": "ten"}), digits, digits.classes[0], seed=0, count=8)
    with pytest.raises(InputError, match="class-mean: no class that 'zero' is contrasted with has a usable image"):
        corrupt(corruption, Batch(digits, digits.classes[0], batch(digits).refs, (), 0))


@pytest.mark.parametrize("std", [0.1, 1.0])
def test_noise_hides_the_class_as_far_as_it_is_strong(digits: ImageSource, digits_model: ViT, std: float) -> None:
    corruption, hits = CORRUPTIONS.resolve("gaussian-noise", {"std": std}), []
    for cls in digits.classes:
        images = Batch(digits, cls, digits.candidates(cls)[:8], (), 0)
        hits += (predict(digits_model, corrupt(corruption, images)) == cls.class_index).tolist()
    assert np.mean(hits) > 0.8 if std < 0.5 else np.mean(hits) < 0.35


@pytest.mark.parametrize("std", [0, -1, 1.5, "strong", True])
def test_a_standard_deviation_out_of_range_raises(std: object) -> None:
    with pytest.raises(InputError, match="corruption 'gaussian-noise': std: expected a standard deviation in pixels"):
        CORRUPTIONS.resolve("gaussian-noise", {"std": std})


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
    with pytest.raises(InputError, match=r"tiles: 7 does not divide an image of 64 × 64 pixels; expected one of 2, 4,"):
        corrupt(CORRUPTIONS.resolve("patch-shuffle", {"tiles": 7}), batch(digits))


def test_the_twin_is_the_image_itself(digits: ImageSource) -> None:
    images = batch(digits)
    assert np.array_equal(corrupt(CORRUPTIONS.resolve("unattacked-twin"), images), views(digits, images.refs))
    assert [k for k in CORRUPTIONS if needs_attack(CORRUPTIONS.resolve(k))] == ["unattacked-twin"]


@pytest.mark.parametrize(
    "kind", [k for k in CORRUPTIONS if k not in ("other-class", "class-mean", "inpaint", "zero", "mean")]
)
def test_the_corruption_does_not_depend_on_other_images_or_their_order(digits: ImageSource, kind: str) -> None:
    corruption, whole = CORRUPTIONS.resolve(kind), batch(digits, n=8)
    together = corrupt(corruption, whole)
    backwards = corrupt(corruption, Batch(digits, whole.cls, whole.refs[::-1], (), 0))
    assert np.array_equal(together, backwards[::-1])
    separate = [corrupt(corruption, Batch(digits, whole.cls, (r,), (), 0))[0] for r in whole.refs]
    assert np.array_equal(together, separate)


@pytest.mark.parametrize("kind", ["patch-shuffle", "gaussian-noise"])
def test_random_choices_differ_between_images_and_seeds(digits: ImageSource, kind: str) -> None:
    def shuffled(seed: int) -> np.ndarray:
        return corrupt(CORRUPTIONS.resolve(kind), batch(digits, seed=seed))

    assert np.array_equal(shuffled(0), shuffled(0))
    assert not any(np.array_equal(a, b) for a, b in zip(shuffled(0), shuffled(1), strict=True))
