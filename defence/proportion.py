"""A number of hits among images, with Wilson's interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

CONFIDENCE = 0.95


class Proportion(NamedTuple):
    """A number of hits among images, with Wilson's interval of 95 %.

    Attributes:
        hits: number of hits.
        images: number of images.
    """

    hits: int
    images: int

    @classmethod
    def of(cls, hit: Bool[np.ndarray, "image"], among: Bool[np.ndarray, "image"] | None = None) -> Proportion:
        """Count the hits among some of the images; by default among all."""
        hit = hit if among is None else hit[among]
        return cls(int(hit.sum()), len(hit))

    @property
    def value(self) -> float:
        """The share of hits; NaN without images."""
        return self.hits / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the share of hits in the population (Wilson 1927); NaN without images."""
        from scipy import stats

        if not self.images:
            return float("nan"), float("nan")
        found = stats.binomtest(self.hits, self.images).proportion_ci(CONFIDENCE, method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
