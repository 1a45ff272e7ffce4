"""Shares of images and Wilson's intervals."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import Proportion
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats


@given(st.integers(1, 200), st.data())
def test_the_interval_is_that_of_scipy(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert np.allclose(Proportion(hits, n).interval, (expected.low, expected.high), atol=1e-12)


def test_the_interval_of_hits_covers_the_share_as_often_as_it_says() -> None:
    """Exactly, by summing the binomial distribution."""
    for share in (0.02, 0.3, 0.7):
        bounds = np.array([Proportion(k, 60).interval for k in range(61)])
        covered = (bounds[:, 0] <= share) & (share <= bounds[:, 1])
        assert 0.92 <= stats.binom.pmf(np.arange(61), 60, share)[covered].sum() <= 0.99


def test_means_over_draws_vary_less_than_the_interval_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = Proportion.of(rng.binomial(5, 0.7, size=100) / 5).interval
        covered += low <= 0.7 <= high
    assert covered / 300 > 0.97


@pytest.mark.parametrize("among", [None, np.array([True, False, True, True])])
def test_hits_are_counted_among_the_images_that_count(among: np.ndarray | None) -> None:
    found = Proportion.of(np.array([True, True, False, False]), among)
    assert found == ((2, 4) if among is None else (1, 3))


def test_no_image_has_no_accuracy() -> None:
    nothing = Proportion.of(np.zeros(3, bool), np.zeros(3, bool))
    assert nothing == Proportion(0, 0) and np.isnan([nothing.value, *nothing.interval]).all()
