"""Stability curves: disjoint samples, the fitted law, and its extrapolation to samples that are measured."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import ComputationGraph, StabilityCurve, stability_curve
from circuitstore.circuits.stability_curve import PAIRS, SLOPES, _samples
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

N_EDGES = ComputationGraph(3, 3).n_edges


def noisy(images: int, noise: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.random.default_rng(99).laplace(size=N_EDGES) + noise * rng.normal(size=(images, N_EDGES))


@given(st.integers(6, 40), st.data())
def test_samples_are_disjoint_pairs(n_images: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(2, n_images // 2))
    weights = np.array(list(_samples(n_images, size, 0)))
    assert weights.shape == (2 * PAIRS, n_images)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert ((weights > 0).sum(axis=1) == size).all()
    assert not (weights[::2] * weights[1::2]).any()


@given(st.integers(6, 40), st.integers(1, N_EDGES), st.booleans())
def test_a_curve_grows_up_to_half_of_the_images(n_images: int, n: int, absolute: bool) -> None:
    curve = stability_curve(noisy(n_images, 0.5), n, absolute=absolute)
    assert curve.images[0] == 2 and curve.images[-1] == n_images // 2 and (np.diff(curve.images) > 0).all()
    assert ((curve.jaccard >= 0) & (curve.jaccard <= 1)).all()
    assert curve.expected(1) <= curve.expected(n_images) == curve.doubled <= curve.expected(10 * n_images) <= 1
    frame = curve.to_pandas()
    assert list(frame) == ["images", "jaccard", "expected", "chance"]
    assert frame["images"].tolist() == [*curve.images, n_images] and frame["jaccard"].isna().tolist()[-1]


def test_noise_only_is_at_the_chance_level() -> None:
    """Halves of all images are below it, because their means add up to a constant."""
    curve = stability_curve(np.random.default_rng(0).normal(size=(24, N_EDGES)), 20)
    assert curve.jaccard[:-2] == pytest.approx(curve.chance, abs=0.015)
    assert curve.jaccard[-1] < curve.chance


@pytest.mark.parametrize("slope", [0.2, 0.35, 0.5])
def test_the_law_of_an_exact_curve_is_found(slope: float) -> None:
    images = np.array([2, 3, 5, 9])
    curve = StabilityCurve(images, 1 - 0.6 * images**-slope, 0.0, 18)
    assert curve.doubled == pytest.approx(1 - 0.6 * 18**-slope)
    for jaccard in (0.5, 0.8, 0.9):
        n = curve.images_for(jaccard)
        assert curve.expected(n) >= jaccard - 1e-9 and (n == 1 or curve.expected(n - 1) < jaccard)


def test_the_slope_is_limited() -> None:
    images = np.array([2, 3, 4])
    for jaccard, slope in ((np.ones(3), SLOPES[0]), (1 - images**-2.0, SLOPES[1])):
        assert StabilityCurve(images, jaccard, 0.0, 8)._law[1] == slope


def test_doubled_images_are_predicted() -> None:
    """On planted noise: the mean prediction for two samples of 18, and of 36, from 18 images."""
    curves = [stability_curve(noisy(18, 1.0, seed), 20) for seed in range(12)]
    many = stability_curve(noisy(600, 1.0, 1000), 20)
    for n in (18, 36):
        predicted = np.mean([curve.expected(n) for curve in curves])
        assert predicted == pytest.approx(many.expected(n), abs=0.05)
    at = int(np.argmin(np.abs(many.images - 18)))
    assert many.expected(int(many.images[at])) == pytest.approx(many.jaccard[at], abs=0.05)


@pytest.mark.parametrize(("images", "n"), [(5, 9), (12, 0), (12, N_EDGES + 1)])
def test_few_images_and_wrong_sizes_raise_an_error(images: int, n: int) -> None:
    with pytest.raises(InputError, match="stability curve: expected at least 6 images"):
        stability_curve(noisy(images, 1.0), n)


def test_a_jaccard_index_out_of_range_raises_an_error() -> None:
    with pytest.raises(InputError, match="from 0 to below 1"):
        stability_curve(noisy(8, 1.0), 9).images_for(1.0)
