"""Bootstrap frequency, and halves of the images."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import ComputationGraph, EdgeScores, bootstrap_frequency, halvings
from circuitstore.circuits.stability import BOOTSTRAP_SAMPLES, HALVINGS
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

GRAPH = ComputationGraph(2, 2)


def noisy(images: int, noise: float, seed: int = 0) -> EdgeScores:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=GRAPH.n_edges)
    return EdgeScores.from_images(GRAPH, shared + noise * rng.normal(size=(images, GRAPH.n_edges)))


@given(st.integers(1, 6), st.integers(0, GRAPH.n_edges), st.booleans(), st.integers(0, 99))
def test_every_sample_has_n_best_edges(images: int, n: int, absolute: bool, seed: int) -> None:
    scores = noisy(images, 1.0, seed)
    assert scores.per_image is not None
    frequency = bootstrap_frequency(scores.per_image, n, absolute=absolute)
    assert ((frequency >= 0) & (frequency <= 1)).all()
    assert frequency.sum() == pytest.approx(n, rel=1e-5)
    np.testing.assert_allclose(frequency * BOOTSTRAP_SAMPLES, np.round(frequency * BOOTSTRAP_SAMPLES), atol=1e-4)


def test_identical_images_give_frequencies_of_zero_and_one() -> None:
    scores = noisy(5, 0.0)
    assert scores.per_image is not None
    frequency = bootstrap_frequency(scores.per_image, 10)
    np.testing.assert_array_equal(frequency == 1, np.argsort(np.argsort(-scores.mean)) < 10)
    assert set(frequency) == {0, 1}


def test_frequency_is_the_share_of_resampled_means() -> None:
    """Compared with a plain bootstrap of 20,000 samples drawn differently: within four standard errors."""
    scores = noisy(8, 2.0)
    assert scores.per_image is not None
    frequency = bootstrap_frequency(scores.per_image, 12)
    rng = np.random.default_rng(1)
    draws = rng.integers(0, 8, (20_000, 8))
    means = np.stack([(draws == i).sum(axis=1) for i in range(8)], axis=1) @ scores.per_image / 8
    plain = (np.argsort(np.argsort(-means, axis=1), axis=1) < 12).mean(axis=0)
    error = np.sqrt(plain * (1 - plain) / BOOTSTRAP_SAMPLES) + 1e-3
    assert (np.abs(frequency - plain) < 4 * error).all()
    assert frequency.std() > 0.05


def test_the_same_seed_gives_the_same_frequency() -> None:
    scores = noisy(6, 1.0)
    assert scores.per_image is not None
    one, two, other = (bootstrap_frequency(scores.per_image, 9, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


@pytest.mark.parametrize("images", [2, 7, 8])
def test_halves_are_disjoint_and_equal_in_size(images: int) -> None:
    per_image = np.zeros((images, GRAPH.n_edges))
    per_image[np.arange(images), np.arange(images)] = 1  # image i marks edge i
    pairs = list(halvings(EdgeScores.from_images(GRAPH, per_image)))
    assert len(pairs) == HALVINGS
    for a, b in pairs:
        first, second = set(np.flatnonzero(a.mean)), set(np.flatnonzero(b.mean))
        assert len(first) == len(second) == images // 2
        assert not first & second


def test_halves_need_scores_per_image() -> None:
    with pytest.raises(InputError, match="per-image"):
        next(iter(halvings(EdgeScores(GRAPH, np.zeros(GRAPH.n_edges)))))
