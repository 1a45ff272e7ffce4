"""How the similarity of the circuits of two samples grows with the number of images, and how many are enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError
from ..results import Exportable
from .record import MIN_IMAGES
from .similarity import expected_jaccard
from .stability import best_edges

if TYPE_CHECKING:
    import pandas as pd

PAIRS = 40
"""Number of pairs of disjoint samples of each size."""

SIZES = 8
"""Maximum number of sizes."""

SLOPES = (0.1, 0.5)
"""Limits of the fitted slope: few images with large scores, and normal noise."""


@dataclass(frozen=True, eq=False)
class StabilityCurve(Exportable):
    """The Jaccard index of the n best edges of two disjoint samples of images, by the size of the samples.

    Attributes:
        images: sizes of the samples, up to half of the images.
        jaccard: mean over 40 seeded pairs of samples.
        chance: expected Jaccard index of two random sets of n edges.
        n_images: number of all images.
    """

    images: Int[np.ndarray, "size"]
    jaccard: Float[np.ndarray, "size"]
    chance: float
    n_images: int

    @cached_property
    def _law(self) -> tuple[float, float]:
        """Factor and slope of 1 − J = factor · images^−slope, fitted in logarithms, each size weighted by itself."""
        gap, weight = np.log(np.maximum(1 - self.jaccard, 1e-3)), self.images / self.images.sum()
        x = np.log(self.images)
        centred = x - weight @ x
        slope = float(np.clip(-(weight * centred) @ gap / (weight @ centred**2), *SLOPES))
        return float(np.exp(weight @ gap + slope * (weight @ x))), slope

    def expected(self, n_images: int) -> float:
        """Return the Jaccard index to expect of two samples of so many images: a power law fitted to the curve.

        For more than half of the images this is an extrapolation.
        """
        factor, slope = self._law
        return max(self.chance, 1 - factor * n_images**-slope)

    @property
    def doubled(self) -> float:
        """The Jaccard index to expect of two samples of as many images as there are: the halves of twice as many."""
        return self.expected(self.n_images)

    def images_for(self, jaccard: float) -> int:
        """Return the size of two samples from which at least this Jaccard index is to be expected.

        Raises:
            InputError: the Jaccard index is not in [0, 1).
        """
        if not 0 <= jaccard < 1:
            raise InputError(f"Jaccard index: expected a number from 0 to below 1, got {jaccard}")
        factor, slope = self._law
        return max(1, ceil((factor / (1 - jaccard)) ** (1 / slope) - 1e-9))

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `images, jaccard, expected, chance`; the last row, of all images, is not measured."""
        import pandas as pd

        sizes = [*self.images.tolist(), self.n_images]
        expected = [self.expected(n) for n in sizes]
        return pd.DataFrame(
            {"images": sizes, "jaccard": [*self.jaccard, np.nan], "expected": expected, "chance": self.chance}
        )


def stability_curve(
    per_image: Float[np.ndarray, "image edge"], n: int, *, absolute: bool = False, seed: int = 0
) -> StabilityCurve:
    """Measure how similar the `n` best edges of two disjoint samples are, for samples of up to half of the images.

    Args:
        per_image: scores of at least six images.
        n: number of edges, before pruning.
        absolute: rank by magnitude.
        seed: seed of the samples.

    Raises:
        InputError: there are fewer than six images, or `n` is not a number of edges.

    Examples:
        >>> curve = stability_curve(scores.per_image, 24)
        >>> curve.images
        array([2, 3, 4])
        >>> curve.images_for(0.9) > curve.images_for(0.5)
        True
    """
    n_images, n_edges = per_image.shape
    if n_images < MIN_IMAGES or not 0 < n <= n_edges:
        raise InputError(
            f"stability curve: expected at least {MIN_IMAGES} images and 1 to {n_edges} edges, got {n_images} and {n}"
        )
    sizes = np.unique(np.geomspace(2, n_images // 2, SIZES).round().astype(int))
    means = [_mean_jaccard(per_image, size, n, absolute, seed) for size in sizes.tolist()]
    return StabilityCurve(sizes, np.array(means), expected_jaccard(n, n, n_edges), n_images)


def _mean_jaccard(per_image: Float[np.ndarray, "image edge"], size: int, n: int, absolute: bool, seed: int) -> float:
    best = list(best_edges(per_image, _samples(len(per_image), size, seed), n, absolute))
    common = np.array([len(np.intersect1d(a, b)) for a, b in list(pairwise(best))[::2]])
    return float((common / (2 * n - common)).mean())


def _samples(n_images: int, size: int, seed: int) -> Iterator[Float[np.ndarray, "image"]]:
    """Yield the weights of the images in seeded samples; each two are disjoint."""
    rng = np.random.default_rng([seed, size])
    for _ in range(PAIRS):
        order = rng.permutation(n_images)
        for chosen in (order[:size], order[size : 2 * size]):
            weight = np.zeros(n_images)
            weight[chosen] = 1 / size
            yield weight
