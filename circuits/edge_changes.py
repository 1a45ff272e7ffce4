"""Which edges have another score: tests, effect sizes and intervals per edge, from scores per image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InputError, NotComparable, check_known
from ..results import Exportable
from .comparability import check_conditions
from .designs import Design, Paired, TwoSamples
from .discovery import Discovery
from .universe import Universe

if TYPE_CHECKING:
    import pandas as pd

CONTROL_QUANTILE = 0.99
"""Quantile of a control's changes that a change has to exceed."""

Correction = Literal["bh", "by"]
"""Benjamini-Hochberg, or Benjamini-Yekutieli, which is valid however the edges depend on each other."""

LEVEL = 0.05
"""False discovery rate at which an edge is called changed."""

COARSEST = 0.01
"""The test raises an error if more than this share of the edges would have to reach the least p-value together."""


@dataclass(frozen=True, eq=False)
class EdgeChanges(Exportable):
    """The change of every edge's score from one discovery to another.

    Attributes:
        universe: the universe that edge positions refer to.
        design: `paired` (the same images) or `two samples` (different images).
        images: number of images on each side.
        before: mean score in the first discovery, over these images.
        after: mean score in the second discovery.
        standardised: the difference as a multiple of the standard deviation: of the paired differences, or of the
            images within the two samples; NaN if it is 0.
        low: lower end of the 95 % bootstrap interval of the difference (percentiles).
        high: upper end.
        p: two-sided p-value.
        q: p-value corrected for the number of edges.
        notes: limits of the test.
    """

    universe: Universe
    design: str
    images: tuple[int, int]
    before: Float[np.ndarray, "edge"]
    after: Float[np.ndarray, "edge"]
    standardised: Float[np.ndarray, "edge"]
    low: Float[np.ndarray, "edge"]
    high: Float[np.ndarray, "edge"]
    p: Float[np.ndarray, "edge"]
    q: Float[np.ndarray, "edge"]
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> Float[np.ndarray, "edge"]:
        """Second mean − first mean."""
        return self.after - self.before

    def changed(self, level: float = LEVEL) -> Bool[np.ndarray, "edge"]:
        """Return which edges are called changed at a false discovery rate."""
        return self.q <= level

    @property
    def limit(self) -> float:
        """The change that 99 % of the edges do not exceed: of a control, what another change has to exceed."""
        return float(np.quantile(np.abs(self.difference), CONTROL_QUANTILE))

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `edge, before, after, difference, standardised, low, high, p, q`; one row per edge."""
        import pandas as pd

        names = ("before", "after", "difference", "standardised", "low", "high", "p", "q")
        return pd.DataFrame({"edge": self.universe.edge_names, **{name: getattr(self, name) for name in names}})

    def __repr__(self) -> str:
        edges = f"{self.changed().sum()} of {self.universe.n_edges} edges"
        return f"EdgeChanges({edges}, {self.design}, {self.images[0]} and {self.images[1]} images)"

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().sort_values("p").head(n)


def changed_edges(a: Discovery, b: Discovery, *, correction: Correction = "bh", seed: int = 0) -> EdgeChanges:
    """Test, per edge, whether its score differs between two discoveries.

    Differences over the images that both have (by content hash) are tested by sign flips and by Student's t, and the
    larger p-value counts. If too few are common, the other images of both sides are tested as two samples, by
    permutations of Welch's t (`permutation.py`). Images are the unit of replication: the test says whether the
    difference would appear on other images of these kinds, not whether another training of a model would give it.

    Raises:
        InputError: there are no scores per image, or too few images; the message says how many are enough.
        NotComparable: the scores have different meanings, or are over different universes.

    Examples:
        >>> from circuitstore.testing.factories import make_discovery, make_item
        >>> natural, attacked = (make_item(attack=attack) for attack in ("natural", "typographic"))
        >>> changed_edges(make_discovery(n_images=18, item=natural), make_discovery(n_images=18, item=attacked))
        EdgeChanges(... of 479 edges, paired, 18 and 18 images)
    """
    check_known("correction", correction, ("bh", "by"))
    warnings = check_conditions(a.item.recipe, b.item.recipe, a.item.condition, b.item.condition)
    from scipy import stats

    if a.universe != b.universe:
        raise NotComparable(f"the universes differ: {a.universe} against {b.universe}")
    design = _design(a, b, correction)
    p, (low, high) = design.p_values(seed), design.interval(seed)
    return EdgeChanges(
        a.universe,
        design.name,
        (len(design.a), len(design.b)),
        design.a.mean(axis=0),
        design.b.mean(axis=0),
        design.standardised,
        low,
        high,
        p,
        stats.false_discovery_control(p, method=correction),
        (*warnings, *_limits(design, a.universe.n_edges, correction)),
    )


def _design(a: Discovery, b: Discovery, correction: Correction) -> Design:
    """Return the paired design if enough images are common, else two samples of the others."""
    n_edges, first, second = a.universe.n_edges, _per_image(a), _per_image(b)
    allowed = max(1, ceil(COARSEST * n_edges))
    fewest = {design: _fewest(design, n_edges, correction, allowed) for design in (Paired, TwoSamples)}
    common = [image for image in dict.fromkeys(a.images) if image in b.images]
    if len(common) >= fewest[Paired]:
        return Paired(first[list(map(a.images.index, common))], second[list(map(b.images.index, common))])
    others = TwoSamples(first[[i not in common for i in a.images]], second[[i not in common for i in b.images]])
    if _together(others.least, n_edges, correction) > allowed:
        raise InputError(
            f"changed edges: {len(common)} images are common to both sides, and {len(others.a)} and {len(others.b)} "
            f"are not: too few to call an edge changed. At least {fewest[Paired]} common images, or "
            f"{fewest[TwoSamples]} different ones on each side, are needed, and "
            f"{images_needed(n_edges, correction)} common ones are enough for a single edge; index with more images "
            "per class"
        )
    return others


def _per_image(discovery: Discovery) -> Float[np.ndarray, "image edge"]:
    """Return the scores per image, in double precision."""
    if discovery.scores is None:
        raise InputError(f"{discovery.item.recipe.method.text} selects edges and gives no scores to test")
    per_image = discovery.scores.subset(np.arange(len(discovery.images))).per_image  # raises if there are none
    return np.asarray(per_image, np.float64)


def _limits(design: Design, n_edges: int, correction: Correction) -> Iterator[str]:
    """Yield notes on what the test cannot find."""
    if isinstance(design, TwoSamples):
        yield "too few images are common to both sides: different images are tested as two samples"
    together = _together(design.least, n_edges, correction)
    if together > 1:
        yield (
            f"the least p-value that {len(design.a)} and {len(design.b)} images can give is {design.least:.2g}, so "
            f"{together} of {n_edges} edges have to reach it together to be called changed; "
            f"{images_needed(n_edges, correction)} common images are enough for a single edge"
        )


def images_needed(n_edges: int, correction: Correction = "bh") -> int:
    """Return the number of common images with which a single edge can be called changed.

    With fewer, the least p-value that sign flips can give, 2 / 2ⁿ, is too large for the correction.

    Examples:
        >>> images_needed(479), images_needed(32_491), images_needed(479, "by")
        (15, 21, 17)
    """
    return _fewest(Paired, n_edges, correction, 1)


def _fewest(design: type[Design], n_edges: int, correction: Correction, together: int) -> int:
    """Return the fewest images on each side with which so many edges together can be called changed."""
    return next(n for n in count(2) if _together(design.least_of(n, n), n_edges, correction) <= together)


def _together(least: float, n_edges: int, correction: Correction) -> int:
    """Return how many edges have to reach the least p-value together to be called changed."""
    tests = n_edges if correction == "bh" else n_edges * float((1 / np.arange(1, n_edges + 1)).sum())
    return ceil(least * tests / LEVEL)
