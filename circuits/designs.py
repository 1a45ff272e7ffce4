"""Two ways to compare the scores of images: pair by pair on the same images, or as two samples of different ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from .permutation import edge_blocks, paired_p_values, sign_flip_least, two_sample_least, two_sample_p_values

RESAMPLES = 1000
"""Number of bootstrap samples of the images for the interval of a difference."""


@dataclass(frozen=True, eq=False)
class Design(ABC):
    """The scores of both sides, over the images of a test.

    Attributes:
        name: what the design is called in results.
        a: scores of the first side.
        b: scores of the second side.
    """

    name: ClassVar[str]
    a: Float[np.ndarray, "image edge"]
    b: Float[np.ndarray, "other_image edge"]

    @property
    def difference(self) -> Float[np.ndarray, "edge"]:
        """Mean of the second side − mean of the first."""
        return self.b.mean(axis=0) - self.a.mean(axis=0)

    @staticmethod
    @abstractmethod
    def least_of(n_a: int, n_b: int) -> float:
        """Return the least p-value that images of these numbers can give; 1 if they cannot be tested."""

    @property
    def least(self) -> float:
        """The least p-value that these images can give."""
        return self.least_of(len(self.a), len(self.b))

    @abstractmethod
    def p_values(self, seed: int) -> Float[np.ndarray, "edge"]:
        """Return the two-sided p-values of the permutation test."""

    @property
    @abstractmethod
    def deviation(self) -> Float[np.ndarray, "edge"]:
        """The standard deviation that a standardised difference is a multiple of."""

    @property
    def standardised(self) -> Float[np.ndarray, "edge"]:
        """The difference as a multiple of the standard deviation; NaN if that is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.deviation > 0, self.difference / self.deviation, np.nan)

    @abstractmethod
    def _weights(self, seed: int) -> tuple[Float[np.ndarray, "sample image"], Float[np.ndarray, "sample other_image"]]:
        """Return the weights of the images of both sides in each bootstrap sample."""

    def interval(self, seed: int) -> tuple[Float[np.ndarray, "edge"], Float[np.ndarray, "edge"]]:
        """Return the 95 % bootstrap interval of the difference (percentiles)."""
        weights_a, weights_b = self._weights(seed)
        ends = np.zeros((2, self.a.shape[1]))
        for some in edge_blocks(RESAMPLES, self.a.shape[1]):
            ends[:, some] = np.percentile(
                weights_b @ self.b[:, some] - weights_a @ self.a[:, some], [2.5, 97.5], axis=0
            )
        return ends[0], ends[1]


class Paired(Design):
    """Both sides have the same images, in the same order: differences are tested by sign flips and Student's t."""

    name = "paired"

    @staticmethod
    def least_of(n_a: int, n_b: int) -> float:
        return sign_flip_least(n_a) if n_a > 1 else 1.0

    def p_values(self, seed: int) -> Float[np.ndarray, "edge"]:
        return paired_p_values(self.b - self.a, seed=seed)

    @property
    def deviation(self) -> Float[np.ndarray, "edge"]:
        return (self.b - self.a).std(axis=0, ddof=1)

    def _weights(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        weights = _resampled(len(self.a), [seed, 0])
        return weights, weights


class TwoSamples(Design):
    """The sides have different images: the samples are tested by permutations of Welch's t."""

    name = "two samples"

    @staticmethod
    def least_of(n_a: int, n_b: int) -> float:
        return two_sample_least(n_a, n_b) if min(n_a, n_b) > 1 else 1.0

    def p_values(self, seed: int) -> Float[np.ndarray, "edge"]:
        return two_sample_p_values(self.a, self.b, seed=seed)

    @property
    def deviation(self) -> Float[np.ndarray, "edge"]:
        return np.sqrt((self.a.var(axis=0, ddof=1) + self.b.var(axis=0, ddof=1)) / 2)

    def _weights(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return _resampled(len(self.a), [seed, 0]), _resampled(len(self.b), [seed, 1])


def _resampled(n: int, seed: list[int]) -> Float[np.ndarray, "sample image"]:
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
