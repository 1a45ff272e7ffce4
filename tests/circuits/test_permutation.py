# pyright: reportAttributeAccessIssue=false
"""Permutation tests compared with scipy's and with enumeration by hand, and their calibration on scores of images."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from circuitstore.circuits import permutation
from circuitstore.circuits.permutation import (
    PERMUTATIONS,
    paired_p_values,
    sign_flip_least,
    sign_flip_p_values,
    two_sample_least,
    two_sample_p_values,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats


def some(images: int, edges: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, (images, edges)).astype(np.float32)


def share(statistics: list[float], observed: float) -> float:
    return float(np.mean([s >= observed * (1 - 1e-9) for s in statistics]))


@settings(max_examples=25)
@given(st.integers(2, 9), st.integers(0, 99))
def test_sign_flips_equal_students_t_over_all_flips(n: int, seed: int) -> None:
    values = some(n, 3, seed).astype(float)
    t = [np.abs(stats.ttest_1samp(values * np.array(s)[:, None], 0).statistic) for s in product((-1, 1), repeat=n)]
    observed = np.abs(stats.ttest_1samp(values, 0).statistic)
    expected = [share([float(flip[e]) for flip in t], float(observed[e])) for e in range(3)]
    np.testing.assert_allclose(sign_flip_p_values(values), expected)


@settings(max_examples=25)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 99))
def test_two_samples_equal_welchs_t_over_all_groups(n: int, m: int, seed: int) -> None:
    a, b = some(n, 2, seed).astype(float), 2 * some(m, 2, seed + 1).astype(float)
    both, rows = np.concatenate([a, b]), range(n + m)
    groups = [(list(c), [i for i in rows if i not in c]) for c in combinations(rows, n)]
    t = [np.abs(stats.ttest_ind(both[c], both[d], equal_var=False).statistic) for c, d in groups]
    expected = [share([float(group[e]) for group in t], float(t[0][e])) for e in range(2)]
    np.testing.assert_allclose(two_sample_p_values(a, b), expected)


@given(st.integers(2, 20), st.integers(0, 99))
def test_the_larger_of_both_p_values_counts(n: int, seed: int) -> None:
    values = some(n, 5, seed)
    t = stats.ttest_1samp(values.astype(float), 0).pvalue
    np.testing.assert_allclose(paired_p_values(values), np.maximum(t, sign_flip_p_values(values)))


@pytest.mark.parametrize("n", [4, 7, 13])
def test_the_least_p_value_is_reached(n: int) -> None:
    """Only all signs equal are as extreme as the same value for every image, and only two groups as two constants."""
    assert sign_flip_p_values(np.ones((n, 1)))[0] == paired_p_values(np.ones((n, 1)))[0] == sign_flip_least(n)
    for m in {n // 2, n - n // 2}:
        assert two_sample_p_values(np.zeros((n // 2, 1)), np.ones((m, 1)))[0] == two_sample_least(n // 2, m)


def test_seeded_flips_approximate_all_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    values = some(15, 200)
    seeded = sign_flip_p_values(values)
    np.testing.assert_array_equal(seeded, sign_flip_p_values(some(15, 200)))
    monkeypatch.setattr(permutation, "PERMUTATIONS", 2**15)
    exact = sign_flip_p_values(values)
    error = np.sqrt(exact * (1 - exact) / PERMUTATIONS)
    assert (np.abs(seeded - exact) < 5 * error + 2 / PERMUTATIONS).all()


def test_the_tail_is_that_of_t_beyond_the_resolution() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, (24, 500))
    p, t = sign_flip_p_values(values), stats.ttest_1samp(values, 0).pvalue
    beyond = p < 1 / (1 + PERMUTATIONS)
    assert beyond.mean() > 0.9
    np.testing.assert_allclose(p[beyond], np.maximum(t[beyond], sign_flip_least(24)))
    a, b = values[:12], values[12:] + 4
    p, t = two_sample_p_values(a, b), stats.ttest_ind(a, b, equal_var=False).pvalue
    beyond = p < 1 / (1 + PERMUTATIONS)
    assert beyond.mean() > 0.9
    np.testing.assert_allclose(p[beyond], np.maximum(t[beyond], two_sample_least(12, 12)))


@pytest.mark.parametrize("n", [5, 20])
def test_edges_without_a_difference_have_p_value_one(n: int) -> None:
    constant = np.full((n, 2), 0.1, np.float32)
    assert (sign_flip_p_values(constant - constant) == 1).all()
    assert (two_sample_p_values(constant, constant[:-1]) == 1).all()


def test_blocks_of_edges_do_not_change_p_values(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = some(16, 40), some(15, 40, 1)
    whole = sign_flip_p_values(a), two_sample_p_values(a, b)
    monkeypatch.setattr(permutation, "_CELLS", 3 * PERMUTATIONS)
    for one, other in zip(whole, (sign_flip_p_values(a), two_sample_p_values(a, b)), strict=True):
        np.testing.assert_array_equal(one, other)
