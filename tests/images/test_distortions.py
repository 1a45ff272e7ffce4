"""Distortions against plain definitions: strength grows with severity, and each image has its own random choices."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS, ImageSource, Predictions, changes_images, open_source, target_of
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import attack
from circuitstore.images.distortions import DISTORTIONS
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

SEVERE = [kind.key for kind in DISTORTIONS if "severity" in kind.params]


@pytest.fixture
def pictures(photos: Path, imagenet_model: ViT) -> Batch:
    source = open_source({"folder": photos}, imagenet_model)
    return Batch(source, source.classes[0], source.candidates(source.classes[0])[:5], (), 0)


@pytest.fixture
def black(tmp_path: Path, imagenet_model: ViT) -> Batch:
    """Sixteen black images, each with one white pixel somewhere, without which all would have the same hash."""
    (tmp_path / "black" / "tiger cat").mkdir(parents=True)
    for i in range(16):
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[32, 20 + i] = 255
        Image.fromarray(pixels).save(tmp_path / "black" / "tiger cat" / f"{i}.png")
    source = open_source({"folder": tmp_path / "black"}, imagenet_model)
    return Batch(source, source.classes[0], source.candidates(source.classes[0]), (), 0)


def distorted(batch: Batch, kind: str, severity: int = 3) -> np.ndarray:
    return attack(CONDITIONS.resolve(kind, {"severity": severity}), batch).astype(float)


@pytest.mark.parametrize("kind", SEVERE)
def test_every_severity_moves_images_further(pictures: Batch, kind: str) -> None:
    moved = [np.abs(distorted(pictures, kind, severity) - pictures.views).mean() for severity in (1, 2, 3, 4, 5)]
    assert moved == sorted(moved) and 0 < moved[0] < moved[-1]


@pytest.mark.parametrize("kind", SEVERE)
@pytest.mark.parametrize("severity", [0, 6, 2.5, True])
def test_other_severities_raise(kind: str, severity: object) -> None:
    with pytest.raises(InputError, match=f"condition '{kind}': severity: expected a whole number, 1 to 5, got"):
        CONDITIONS.resolve(kind, {"severity": severity})


def test_distortions_have_no_target(digits: ImageSource) -> None:
    for kind in SEVERE:
        condition = CONDITIONS.resolve(kind)
        assert changes_images(condition) and target_of(condition, digits, digits.classes[0], 0) is None


def test_noise_has_its_standard_deviation(pictures: Batch) -> None:
    for severity, std in enumerate((0.08, 0.12, 0.18, 0.26, 0.38), start=1):
        moved = (distorted(pictures, "gaussian-noise", severity) - pictures.views)[
            (pictures.views > 100) & (pictures.views < 155)
        ]
        inside = np.abs(moved) < 100  # further values may be clipped
        assert np.abs(moved[inside]).mean() == pytest.approx(_folded_mean(std * 255, 100), rel=0.03)


def _folded_mean(std: float, limit: float) -> float:
    """Return the mean magnitude of normal values of at most `limit` in magnitude."""
    grid = np.linspace(0, limit, 10_001)
    density = np.exp(-0.5 * (grid / std) ** 2)
    return float((grid * density).sum() / density.sum())


def test_contrast_keeps_means_and_shares_of_deviations(pictures: Batch) -> None:
    for severity, share in enumerate((0.4, 0.3, 0.2, 0.1, 0.05), start=1):
        mean = pictures.views.mean((1, 2), keepdims=True)
        exact = mean + share * (pictures.views - mean)
        assert np.abs(distorted(pictures, "contrast", severity) - exact).max() <= 0.5 + 1e-9


def test_brightness_raises_the_value_of_hsv(pictures: Batch) -> None:
    bright = distorted(pictures, "brightness", 2)
    for before, after in zip(
        pictures.views[:, ::9, ::9].reshape(-1, 3), bright[:, ::9, ::9].reshape(-1, 3), strict=True
    ):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        exact = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + 51 / 255))
        assert np.abs(np.array(exact) * 255 - after).max() <= 0.5 + 1e-6


def test_brightness_of_black_is_grey(black: Batch) -> None:
    pixels = (black.views == 0).all(-1)
    assert pixels.mean() > 0.9 and (distorted(black, "brightness", 1)[pixels] == round(255 * 0.1)).all()


@pytest.mark.parametrize(("severity", "steps"), [(1, 2), (3, 6), (5, 12)])
def test_shift_moves_whole_pixels_and_repeats_the_border(pictures: Batch, severity: int, steps: int) -> None:
    moved = distorted(pictures, "shift", severity)
    padded = np.pad(pictures.views, [(0, 0), (steps, steps), (steps, steps), (0, 0)], mode="edge")
    candidates = [
        padded[:, steps + down :, steps + right :][:, :64, :64]
        for down, right in ((0, steps), (0, -steps), (steps, 0), (-steps, 0))
    ]
    for i, image in enumerate(moved):
        assert sum(np.array_equal(image, candidate[i]) for candidate in candidates) == 1


def test_sides_are_drawn_for_each_image(black: Batch) -> None:
    after, before = (views.max(-1).argmax(-1).max(-1) for views in (distorted(black, "shift", 5), black.views))
    assert set((after - before).tolist()) == {-12, 0, 12}


def test_scale_keeps_the_middle_and_repeats_the_border(pictures: Batch) -> None:
    small = distorted(pictures, "scale", 5)
    inner = small[:, 16:48, 16:48]
    means = pictures.views.reshape(5, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(inner - means).mean() < 4
    assert np.array_equal(small[:, :16, 16:48], inner[:, :1].repeat(16, 1))


def test_rotation_turns_about_the_middle(pictures: Batch) -> None:
    turned = distorted(pictures, "rotation", 5)
    middle = np.abs(turned - pictures.views)[:, 31:33, 31:33].mean()
    assert middle < 3 < np.abs(turned - pictures.views)[:, :16, :16].mean()
    assert np.array_equal(attack(CONDITIONS.resolve("rotation"), pictures), distorted(pictures, "rotation"))


def test_jpeg_is_what_pillow_writes_and_is_lossy(pictures: Batch) -> None:
    moved = np.abs(distorted(pictures, "jpeg", 5) - pictures.views)
    assert 1 < moved.mean() < 20


@given(levels=st.integers(1, 60), n=st.integers(1, 5), seed=st.integers(0, 9))
def test_random_signs_use_the_whole_budget(digits: ImageSource, levels: int, n: int, seed: int) -> None:
    cls = digits.classes[0]
    batch = Batch(digits, cls, digits.candidates(cls)[:n], (), seed)
    moved = attack(CONDITIONS.resolve("random-signs", {"eps": f"{levels}/255"}), batch).astype(int) - batch.views
    free = (batch.views >= levels) & (batch.views <= 255 - levels)
    assert np.abs(moved).max() <= levels
    assert set(np.unique(moved[free])) <= {-levels, levels}


def test_random_signs_cannot_darken_black(black: Batch) -> None:
    moved = attack(CONDITIONS.resolve("random-signs", {"eps": "9/255"}), black).astype(int) - black.views
    dark = black.views == 0
    assert set(np.unique(moved[dark])) == {0, 9} and 0.45 < (moved[dark] == 9).mean() < 0.55


def test_a_budget_between_grey_levels_is_never_exceeded(digits: ImageSource) -> None:
    cls = digits.classes[0]
    batch = Batch(digits, cls, digits.candidates(cls)[:2], (), 0)
    moved = attack(CONDITIONS.resolve("random-signs", {"eps": "3.9/255"}), batch).astype(int) - batch.views
    assert np.abs(moved).max() == 3
    with pytest.raises(InputError, match="images have 8 bits, so eps has to be at least 1/255"):
        attack(CONDITIONS.resolve("random-signs", {"eps": 0.001}), batch)


def test_random_signs_hardly_change_predictions(digits: ImageSource, digits_model: ViT) -> None:
    predictions, condition = Predictions(digits, digits_model), CONDITIONS.resolve("random-signs", {"eps": "8/255"})
    tallies = [predictions.tally(cls, digits.candidates(cls)[:20], condition) for cls in digits.classes]
    assert sum(t.attacked_correct or 0 for t in tallies) / sum(t.tried for t in tallies) > 0.88
