"""Statistics of detectors and their thresholds, against scikit-learn and worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from circuitstore.defence import Statistic, calibrate
from circuitstore.defence.detectors.confidence import ENERGY, MAX_SOFTMAX
from circuitstore.defence.detectors.deviation import MEAN_SQUARED
from circuitstore.defence.detectors.gaussian import gaussian
from circuitstore.defence.detectors.neighbours import nearest_neighbours
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf


def fitted(statistic: Statistic, x: np.ndarray, rows: np.ndarray, **params: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a statistic that is fitted to features."""
    assert statistic.fit is not None
    return statistic.fit(x, rows, **params)


def drawn(images: int, features: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated features of very different scales, and the row of each image's class."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(images, features)) @ rng.normal(size=(features, features))
    rows = np.arange(images) % classes
    return (values + rng.normal(size=(classes, features))[rows]) * np.logspace(-3, 3, features), rows


@pytest.mark.parametrize(("images", "features"), [(60, 5), (12, 30), (9, 9), (7, 1)])
def test_the_gaussian_is_scikit_learns_on_features_in_units_of_their_deviation(images: int, features: int) -> None:
    x, rows = drawn(images, features)
    statistic, (new, new_rows) = gaussian("predicted"), drawn(11, features, seed=1)
    arrays = fitted(statistic, x, rows, mean="predicted")
    means = np.stack([x[rows == row].mean(axis=0) for row in range(3)])
    scale = (x - means[rows]).std(axis=0)
    reference = LedoitWolf(assume_centered=True).fit((x - means[rows]) / scale)
    expected = reference.mahalanobis((new - means[new_rows]) / scale)
    np.testing.assert_allclose(statistic.score(arrays, new, new_rows, mean="predicted"), expected, rtol=1e-9)
    assert arrays["shrinkage"] == pytest.approx(reference.shrinkage_)
    each = [reference.mahalanobis((new - mean) / scale) for mean in means]
    np.testing.assert_allclose(statistic.score(arrays, new, new_rows, mean="nearest"), np.min(each, axis=0), rtol=1e-9)
    assert statistic.by_class(mean="predicted") and not statistic.by_class(mean="nearest")


def test_fewer_images_than_features_give_a_distance_in_every_direction() -> None:
    x, rows = drawn(10, 40)
    statistic = gaussian("predicted")
    arrays = fitted(statistic, x, rows, mean="predicted")
    assert arrays["basis"].shape == (7, 40)  # ten images about three means
    outside = np.linalg.svd(arrays["basis"])[2][7:] * arrays["scale"]
    away = arrays["means"][0] + 5 * outside
    scores = statistic.score(arrays, away, np.zeros(len(away), int), mean="predicted")
    np.testing.assert_allclose(scores, 25 * arrays["outside"])


@given(st.integers(0, 1000), st.lists(st.floats(-6, 6), min_size=4, max_size=4))
def test_units_of_features_do_not_matter(seed: int, powers: list[float]) -> None:
    x, rows = drawn(20, 4, seed=seed)
    new, new_rows = drawn(5, 4, seed=seed + 1)
    units = np.power(10.0, powers)
    for statistic, params in ((gaussian("predicted"), {"mean": "predicted"}), (MEAN_SQUARED, {})):
        one = statistic.score(fitted(statistic, x, rows, **params), new, new_rows, **params)
        other = statistic.score(fitted(statistic, x * units, rows, **params), new * units, new_rows, **params)
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_mean_squared_deviation_is_as_worked_out_by_hand() -> None:
    x, rows = np.array([[0.0, 10], [2, 10], [5, 0], [7, 4]]), np.array([0, 0, 1, 1])
    arrays = fitted(MEAN_SQUARED, x, rows)
    spread = np.array([np.sqrt(7.25), np.sqrt(18.0)])  # over all images: means 3.5 and 6
    of_first, of_second = np.array([1, 0]) + spread / 4, np.array([1, 2]) + spread / 4
    new = np.array([[4.0, 9], [4.0, 9]])
    z = np.array([[3, -1] / of_first, [-2, 7] / of_second])
    assert MEAN_SQUARED.deviations is not None
    np.testing.assert_allclose(MEAN_SQUARED.deviations(arrays, new, np.array([0, 1])), z)
    np.testing.assert_allclose(MEAN_SQUARED.score(arrays, new, np.array([0, 1])), (z**2).mean(axis=1))


@pytest.mark.parametrize("among", ["all", "predicted"])
def test_the_distance_is_that_to_the_kth_nearest_image_of_unit_length(among: str) -> None:
    x, rows = drawn(21, 6)
    new, new_rows = drawn(8, 6, seed=1)
    new[3] = 0
    statistic, params = nearest_neighbours("all"), {"neighbours": 4, "among": among}
    scores = statistic.score(fitted(statistic, x, rows, **params), new, new_rows, **params)
    units = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in (new, x)]
    distances = cdist(*units)
    if among == "predicted":
        distances[new_rows[:, None] != rows] = np.inf
    np.testing.assert_allclose(scores, np.sort(distances, axis=1)[:, 3], atol=1e-7)
    assert statistic.by_class(**params) == (among == "predicted")


def test_more_neighbours_than_images_are_rejected() -> None:
    x, rows = drawn(21, 6)
    statistic = nearest_neighbours("all")
    fitted(statistic, x, rows, neighbours=7, among="predicted")
    with pytest.raises(InputError, match=r"neighbours: expected at most the number .+ of a class, 7, got 8; lower it"):
        fitted(statistic, x, rows, neighbours=8, among="predicted")
    with pytest.raises(InputError, match="in total, 21, got 22"):
        fitted(statistic, x, rows, neighbours=22, among="all")


def test_the_statistics_of_logits_are_as_worked_out_by_hand() -> None:
    logits, rows = np.log(np.array([[1.0, 1, 2], [8, 1, 1]])), np.zeros(2, int)
    np.testing.assert_allclose(MAX_SOFTMAX.score({}, logits, rows), -np.log([0.5, 0.8]))
    np.testing.assert_allclose(ENERGY.score({}, logits, rows, temperature=1.0), -np.log([4, 10]))
    halved = -2 * np.log(np.sqrt([1, 8]) + 1 + np.sqrt([2, 1]))
    np.testing.assert_allclose(ENERGY.score({}, logits, rows, temperature=2.0), halved)


@given(
    st.lists(st.integers(-20, 20), min_size=4, max_size=60).map(lambda values: np.array(values, float)),
    st.floats(0.01, 0.6),
)
def test_of_images_of_one_distribution_no_larger_share_is_flagged(scores: np.ndarray, share: float) -> None:
    """Each image in turn is the new one, and the others choose the threshold: together all orders of a sample."""
    n = len(scores) - 1
    if np.ceil((1 - share) * (n + 1)) > n:
        with pytest.raises(InputError, match=f"false_alarms: .+ needs at least .+ selection images, got {n}"):
            calibrate(scores[1:], share)
        return
    thresholds = np.array([calibrate(np.delete(scores, i), share).threshold for i in range(n + 1)])
    assert (scores > thresholds).sum() <= share * (n + 1) + 1e-9


def test_a_calibration_reports_what_it_did() -> None:
    found = calibrate(np.array([3.0, 1, 2, 4]), 0.25)
    assert (found.threshold, found.false_alarms, found.flagged, found.n_images) == (4, 0.25, 0, 4)
    assert calibrate(np.array([3.0, 1, 2, 4]), 0.5).flagged == 0.25
    calibrate(np.arange(19.0), 0.05)
    with pytest.raises(InputError, match=r"0.05 needs at least 19 selection images, got 18"):
        calibrate(np.arange(18.0), 0.05)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan"), True, "5 %", None])
def test_shares_outside_the_range_are_rejected(share: object) -> None:
    with pytest.raises(InputError, match="false_alarms: expected a share above 0 and below 1"):
        calibrate(np.arange(100.0), share)


def test_an_infinite_threshold_is_rejected() -> None:
    scores = np.where(np.arange(100) < 90, 1.0, np.inf)
    assert calibrate(scores, 0.2).threshold == 1
    with pytest.raises(InputError, match="10 of 100 images are predicted as classes without reference images"):
        calibrate(scores, 0.05)
