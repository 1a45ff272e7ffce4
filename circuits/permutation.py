"""Tests of every edge's score: sign flips and Student's t of paired differences, Welch's t of two samples of images.

All permutations are tried if there are at most 10,000, else 10,000 seeded ones, which resolve p-values down to 1e-4.
Where no permutation is as extreme as the data, the p-value is that of the t distribution, but not above the resolution,
and not below the least p-value that all permutations could give. So thousands of edges can be tested at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Float
from scipy import special

PERMUTATIONS = 10_000
"""Maximum number of permutations."""

_CELLS = 2**22
"""Maximum of permutations × edges that are computed at once."""

_ROUNDING = 1e-9
"""Statistics that differ by at most this share are equal."""


def sign_flip_p_values(differences: Float[np.ndarray, "image edge"], *, seed: int = 0) -> Float[np.ndarray, "edge"]:
    """Return the two-sided p-value, per edge, of "the differences are symmetric about zero".

    The statistic is Student's t. Flipping signs keeps the sum of squares, so the magnitude of the sum orders the flips
    in the same way, and only sums are computed.

    Args:
        differences: at least two images.
        seed: seed of the flips, if there are more than 10,000.

    Examples:
        >>> sign_flip_p_values(np.array([[1.0, 1.0], [2.0, -2.0], [3.0, 1.5]]))  # 2 of 8 flips, 8 of 8 flips
        array([0.25, 1.  ])
    """
    values = differences.astype(np.float64)
    n, observed = len(values), np.abs(values.sum(axis=0))
    exact = 2**n <= PERMUTATIONS
    signs = _every_sign(n) if exact else np.random.default_rng(seed).choice([-1.0, 1.0], size=(PERMUTATIONS, n))
    extreme = np.zeros(len(observed))
    for some in edge_blocks(len(signs), len(observed)):
        extreme[some] = (np.abs(signs @ values[:, some]) >= observed[some] * (1 - _ROUNDING)).sum(axis=0)
    if exact:
        return extreme / len(signs)
    return _with_tail(extreme, _student(values), sign_flip_least(n))


def paired_p_values(differences: Float[np.ndarray, "image edge"], *, seed: int = 0) -> Float[np.ndarray, "edge"]:
    """Return the larger of the two-sided p-values of sign flips and of Student's t, per edge.

    Sign flips assume that differences are symmetric about zero, t that means are normal. Differences of scores are
    skewed, and each test by itself calls too many unchanged edges changed, but not the same ones. The larger p-value is
    valid wherever one of the two is.

    Args:
        differences: at least two images.
        seed: seed of the flips, if there are more than 10,000.

    Examples:
        >>> paired_p_values(np.array([[1.0, 1.0], [2.0, -2.0], [3.0, 1.5]])).round(3)
        array([0.25, 1.   ])
    """
    return np.maximum(sign_flip_p_values(differences, seed=seed), _student(differences.astype(np.float64)))


def sign_flip_least(n_images: int) -> float:
    """Return the least p-value that sign flips of so many images can give.

    Examples:
        >>> sign_flip_least(9)
        0.00390625
    """
    return 2.0 ** (1 - n_images)


def _every_sign(n: int) -> Float[np.ndarray, "flip image"]:
    """Return all sign vectors whose last sign is positive; the others have the same magnitudes."""
    return 1.0 - 2.0 * (np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1)


def _student(values: Float[np.ndarray, "image edge"]) -> Float[np.ndarray, "edge"]:
    """Return the p-value of Student's t."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return 2 * special.stdtr(len(values) - 1, -_ratio(np.abs(values.mean(axis=0)), error))


def two_sample_p_values(
    a: Float[np.ndarray, "image edge"], b: Float[np.ndarray, "other_image edge"], *, seed: int = 0
) -> Float[np.ndarray, "edge"]:
    """Return the two-sided p-value, per edge, of "both samples of images have the same scores".

    The statistic is Welch's t, so samples of different variance and size have no smaller p-values by that.

    Args:
        a: at least two images.
        b: at least two other images.
        seed: seed of the permutations, if there are more than 10,000.

    Examples:
        >>> two_sample_p_values(np.array([[1.0], [2.0], [3.0]]), np.array([[7.0], [8.0], [9.5]]))  # 2 of 20 groups
        array([0.1])
    """
    values = np.concatenate([a, b]).astype(np.float64)
    values = np.where(np.ptp(values, axis=0) > 0, values - values.mean(axis=0), 0.0)
    n = len(values)
    exact = comb(n, len(a)) <= PERMUTATIONS
    groups = _every_group(n, len(a)) if exact else _some_groups(n, len(a), seed)
    identity = (np.arange(n) < len(a)).astype(np.float64)[None]
    extreme, tail = np.zeros((2, values.shape[1]))
    statistic = _sum_magnitude if len(a) == len(b) else _squared_welch
    for some in edge_blocks(len(groups), values.shape[1]):
        less = statistic(groups, values[:, some]) < statistic(identity, values[:, some]) * (1 - _ROUNDING)
        extreme[some] = len(groups) - less.sum(axis=0)
        t = np.sqrt(_squared_welch(identity, values[:, some])[0])
        tail[some] = _welch_p(values[: len(a), some], values[len(a) :, some], t)
    return extreme / len(groups) if exact else _with_tail(extreme, tail, two_sample_least(len(a), len(b)))


def two_sample_least(n_a: int, n_b: int) -> float:
    """Return the least p-value that permutations of two samples of these sizes can give.

    Examples:
        >>> two_sample_least(3, 3), two_sample_least(2, 3)
        (0.1, 0.1)
    """
    return (2 if n_a == n_b else 1) / comb(n_a + n_b, n_a)


def _every_group(n: int, size: int) -> Float[np.ndarray, "group image"]:
    chosen = np.array(list(combinations(range(n), size)))
    groups = np.zeros((len(chosen), n))
    np.put_along_axis(groups, chosen, 1.0, axis=1)
    return groups


def _some_groups(n: int, size: int, seed: int) -> Float[np.ndarray, "group image"]:
    first = np.arange(n) < size
    return np.random.default_rng(seed).permuted(np.tile(first, (PERMUTATIONS, 1)), axis=1).astype(np.float64)


def _sum_magnitude(
    groups: Float[np.ndarray, "group image"], values: Float[np.ndarray, "image edge"]
) -> Float[np.ndarray, "group edge"]:
    """Return the magnitude of each group's sum, which orders groups of half of the images as Welch's t does.

    With as many images outside, the sums of squares cancel, and t² = s² / (a − b s²), which grows with s².
    """
    sums = groups @ values
    return np.abs(sums, out=sums)


def _squared_welch(
    groups: Float[np.ndarray, "group image"], values: Float[np.ndarray, "image edge"]
) -> Float[np.ndarray, "group edge"]:
    """Return the square of Welch's t between the images of each group and the others; NaN for edges that are all 0.

    The mean of the values over all images is 0, so the sum over a group gives the sum over the others.
    """
    n = int(groups[0].sum())
    m = len(values) - n
    squares, sums = (values**2).sum(axis=0), groups @ values
    sums *= sums
    variance = squares / (m * (m - 1)) - sums * (1 / (n * n * (n - 1)) + 1 / (m * m * (m - 1)))
    if n != m:
        variance += groups @ values**2 * (1 / (n * (n - 1)) - 1 / (m * (m - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        sums *= (1 / n + 1 / m) ** 2 / np.maximum(variance, 0.0)
    return sums


def _welch_p(a: np.ndarray, b: np.ndarray, t: Float[np.ndarray, "edge"]) -> Float[np.ndarray, "edge"]:
    """Return the p-value of Welch's t, with the degrees of freedom of Welch and Satterthwaite."""
    u, v = a.var(axis=0, ddof=1) / len(a), b.var(axis=0, ddof=1) / len(b)
    freedom = (u + v) ** 2 / np.maximum(u**2 / (len(a) - 1) + v**2 / (len(b) - 1), np.finfo(float).tiny)
    return 2 * special.stdtr(np.maximum(freedom, 1.0), -t)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole; 0 if both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(part > 0, part / whole, 0.0)


def _with_tail(extreme: np.ndarray, tail: np.ndarray, least: float) -> Float[np.ndarray, "edge"]:
    """Return p-values from the number of permutations that are as extreme, or from the tail if there are none."""
    resolution = 1 / (1 + PERMUTATIONS)
    return np.where(extreme > 0, (1 + extreme) * resolution, np.clip(tail, min(least, resolution), resolution))


def edge_blocks(rows: int, edges: int) -> Iterator[slice]:
    """Yield slices of the edges, so that arrays `[row, edge]` of one slice fit into memory."""
    step = max(1, _CELLS // rows)
    return (slice(start, start + step) for start in range(0, edges, step))
