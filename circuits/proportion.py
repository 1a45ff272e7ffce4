"""A share of images, with Wilson's interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Z = 1.959963984540054
"""Quantile of the normal distribution for an interval of 95 %."""


class Proportion(NamedTuple):
    """A number of hits among images, with Wilson's interval of 95 %.

    Attributes:
        hits: number of hits; a mean if hits are means over the draws of something random.
        images: number of images.
    """

    hits: float
    images: int

    @classmethod
    def of(
        cls,
        hit: Bool[np.ndarray, "image"] | Float[np.ndarray, "image"],
        among: Bool[np.ndarray, "image"] | None = None,
    ) -> Proportion:
        """Count the hits among some of the images; by default among all.

        Args:
            hit: whether each image is a hit, or the share of the draws in which it is.
            among: the images that count.
        """
        hit = hit if among is None else hit[among]
        return cls(float(hit.sum()), len(hit))

    @property
    def value(self) -> float:
        """The share of hits; NaN without images."""
        return self.hits / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the share of hits in the population (Wilson 1927); NaN without images.

        Of means over draws the interval is too wide rather than too narrow: numbers between 0 and 1 vary less than hits
        with the same mean.

        Examples:
            >>> low, high = Proportion(0, 60).interval
            >>> low, round(high, 3)
            (0.0, 0.06)
        """
        if not self.images:
            return float("nan"), float("nan")
        share, spread = self.value, Z**2 / self.images
        centre = (share + spread / 2) / (1 + spread)
        half = Z * np.sqrt(share * (1 - share) / self.images + spread / (4 * self.images)) / (1 + spread)
        return max(0.0, float(centre - half)), min(1.0, float(centre + half))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
