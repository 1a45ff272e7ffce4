"""Bootstrap frequency, certified edges, and halves of the images."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import (
    ComputationGraph,
    EdgeScores,
    bootstrap_frequency,
    certify_edges,
    halvings,
    replication,
)
from circuitstore.circuits.stability import BOOTSTRAP_SAMPLES, HALVINGS, _certain_count
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

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


@given(st.integers(1, 20), st.integers(-1, GRAPH.n_edges + 1), st.booleans())
def test_every_edge_has_one_verdict(images: int, n: int, absolute: bool) -> None:
    found = certify_edges(noisy(images, 1.0).per_image, n, absolute=absolute)
    verdicts = np.stack([found.included, found.excluded, found.abstained])
    assert (verdicts.sum(axis=0) == 1).all()
    assert (found.votes[found.included] > 0.95).all() and (found.votes[found.excluded] < 0.05).all()
    assert found.included.sum() <= max(0, n)


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    """967 of 1,000 deletions are the fewest for which a share of at most .95 is rejected at .0005."""
    fewest = next(k for k in range(1001) if stats.binomtest(k, 1000, 0.95, alternative="greater").pvalue < 0.0005)
    votes = np.array([fewest, fewest - 1, 1000 - fewest, 1001 - fewest]) / 1000
    assert _certain_count() == fewest
    found = certify_edges(noisy(12, 2.0).per_image, 12)
    np.testing.assert_array_equal(found.included, found.votes >= votes[0])
    np.testing.assert_array_equal(found.excluded, found.votes <= votes[2])
    assert found.abstained.any()


@pytest.mark.parametrize("absolute", [False, True])
def test_no_single_image_decides_about_a_certified_edge(absolute: bool) -> None:
    """The promise for one image more or fewer: still in more (excluded: less) than half of all deletions."""
    for seed in range(3):
        per_image = noisy(12, 1.0, seed).per_image
        found = certify_edges(per_image, 12, absolute=absolute, seed=seed)
        assert found.included.any() and found.excluded.any()
        rng = np.random.default_rng(seed)
        added = per_image.mean(axis=0) + rng.normal(size=(5, GRAPH.n_edges)).astype(np.float32)
        others = [np.delete(per_image, i, axis=0) for i in range(12)] + [np.vstack([per_image, new]) for new in added]
        for other in others:
            votes = certify_edges(other, 12, absolute=absolute, seed=seed + 100).votes
            assert (votes[found.included] > 0.5).all() and (votes[found.excluded] < 0.5).all()


def test_scores_that_ignore_the_images_are_certified_and_a_coin_is_not() -> None:
    blind = certify_edges(noisy(18, 0.0).per_image, 10)
    assert blind.included.sum() == 10 and not blind.abstained.any()
    coin = np.random.default_rng(0).normal(size=(18, GRAPH.n_edges)).astype(np.float32)
    found = certify_edges(coin - coin.mean(axis=0), GRAPH.n_edges // 2)
    assert found.abstained.all()


def test_deletions_of_all_images_count_against_every_edge() -> None:
    """Of one image, 6 in 10 deletions leave nothing."""
    votes = certify_edges(noisy(1, 0.0).per_image, 10).votes
    assert (votes > 0).sum() == 10 and votes[votes > 0] == pytest.approx(0.4, abs=0.05)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_replication_is_symmetric_and_less_confident(frequencies: list[float]) -> None:
    f = np.array(frequencies)
    found = replication(f)
    np.testing.assert_allclose(found + replication(1 - f), 1, atol=1e-6)
    assert (np.abs(found - 0.5) <= np.abs(f - 0.5) + 1e-12).all()
    np.testing.assert_allclose(replication(np.array([0.0, 0.5, 1.0])), [0, 0.5, 1])


@pytest.mark.slow
def test_replication_is_better_calibrated_than_the_frequency_for_another_sample() -> None:
    """On planted noise: mean error of five bins over 200 pairs of samples of 18 images."""
    rng = np.random.default_rng(0)
    shared, frequencies, again = rng.laplace(size=GRAPH.n_edges), [], []
    for seed in range(200):
        one, other = shared + rng.normal(size=(2, 18, GRAPH.n_edges))
        frequencies.append(bootstrap_frequency(one, 12, seed=seed))
        again.append(np.argsort(np.argsort(-other.mean(axis=0))) < 12)
    f, found = np.concatenate(frequencies).astype(float), np.concatenate(again)

    def error(predicted: np.ndarray) -> float:
        bins = np.digitize(predicted, [0.2, 0.4, 0.6, 0.8])
        gaps = [abs(predicted[bins == b].mean() - found[bins == b].mean()) * (bins == b).mean() for b in range(5)]
        return float(sum(gaps))

    assert error(replication(f)) < 0.015 < error(f)
