"""Stability of a circuit under the choice of images: bootstrap frequency, certified edges, halves of the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from .scores import EdgeScores

BOOTSTRAP_SAMPLES = 200
HALVINGS = 20

DELETIONS = 1000
"""Number of random deletions of images that an edge is certified by."""
DELETED = 0.6
"""Probability that a deletion removes an image."""
CERTAIN = 0.95
"""An edge is certified if it is a member, or is none, in more than this share of all deletions."""
ERROR = 0.001
"""Probability that the bounds on this share are wrong for an edge."""


def bootstrap_frequency(
    per_image: Float[np.ndarray, "image edge"], n: int, *, absolute: bool = False, seed: int = 0
) -> Float[np.ndarray, "edge"]:
    """Return, per edge, the share of 200 seeded bootstrap samples of the images in which it is among the `n` best.

    `n` is the requested size, before pruning. The frequency estimates how often circuits of other images would have the
    edge; for one other sample of as many images, see `replication`.

    Examples:
        >>> frequency = bootstrap_frequency(scores.per_image, 24)
        >>> frequency.shape, round(float(frequency.sum()), 3)
        ((479,), 24.0)
    """
    images = len(per_image)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=BOOTSTRAP_SAMPLES) / images
    return (_times_best(per_image, weights, n, absolute) / BOOTSTRAP_SAMPLES).astype(np.float32)


def _times_best(
    per_image: Float[np.ndarray, "image edge"], weights: Iterable[Float[np.ndarray, "image"]], n: int, absolute: bool
) -> Int[np.ndarray, "edge"]:
    """Return, per edge, for how many weightings of the images it is among the `n` best."""
    counts = np.zeros(per_image.shape[1], np.int64)
    for best in best_edges(per_image, weights, n, absolute):
        counts[best] += 1
    return counts


def best_edges(
    per_image: Float[np.ndarray, "image edge"], weights: Iterable[Float[np.ndarray, "image"]], n: int, absolute: bool
) -> Iterator[Int[np.ndarray, "best"]]:
    """Yield the `n` best edges by the weighted mean over images, in no order, for each weighting."""
    exact = per_image.astype(np.float64)
    for weight in weights:  # row by row: 200 × 32,491 doubles would be 52 MB
        value = weight @ exact
        if absolute:
            value = np.abs(value)
        yield np.argpartition(-value, n - 1)[:n] if 0 < n < len(value) else np.arange(len(value))[: max(0, n)]


def replication(frequency: Float[np.ndarray, "edge"]) -> Float[np.ndarray, "edge"]:
    """Return the probability that the circuit of another sample of as many images has each edge: Φ(Φ⁻¹(f) / √2).

    The bootstrap frequency f describes how the edge's rank varies around that in this sample. This sample itself
    varies as much around all images, so the rank in another sample varies twice as much, and f is too confident.

    Examples:
        >>> replication(np.array([0.0, 0.5, 0.9, 1.0])).round(2)
        array([0.  , 0.5 , 0.82, 1.  ])
    """
    return special.ndtr(special.ndtri(frequency) / np.sqrt(2))


@dataclass(frozen=True, eq=False)
class CertifiedEdges:
    """Which edges no single image decides about (Anani et al. 2026, arXiv 2602.22968).

    Attributes:
        votes: share of the deletions of images in which the edge is among the n best.
        included: in more than 95 % of all deletions the edge is among them. If one image is added or removed, it still
            is in more than half of them.
        excluded: the same for not being among them.
    """

    votes: Float[np.ndarray, "edge"]
    included: Bool[np.ndarray, "edge"]
    excluded: Bool[np.ndarray, "edge"]

    @property
    def abstained(self) -> Bool[np.ndarray, "edge"]:
        """Neither can be certified."""
        return ~(self.included | self.excluded)


def certify_edges(
    per_image: Float[np.ndarray, "image edge"], n: int, *, absolute: bool = False, seed: int = 0
) -> CertifiedEdges:
    """Certify which edges are among the `n` best, and which are not, by 1,000 seeded random deletions of images.

    Each deletion removes each image with probability 0.6; if all are removed, no edge is among the best. Clopper and
    Pearson's bounds on the share of deletions hold with probability 0.999 per edge. The radius, the number of images
    that may be added or removed, is ⌊log(1.5 − 0.95) / log 0.6⌋ = 1.

    Args:
        per_image: scores of the images.
        n: requested size, before pruning.
        absolute: rank by magnitude.
        seed: seed of the deletions.

    Examples:
        >>> certified = certify_edges(scores.per_image, 24)
        >>> int((certified.included | certified.excluded | certified.abstained).sum())
        479
    """
    kept = np.random.default_rng(seed).random((DELETIONS, len(per_image))) >= DELETED
    counts = _times_best(per_image, _means(kept), n, absolute)
    enough = _certain_count()
    return CertifiedEdges(counts / DELETIONS, counts >= enough, counts <= DELETIONS - enough)


def _means(kept: Bool[np.ndarray, "deletion image"]) -> Float[np.ndarray, "some image"]:
    """Return the weights of the images in each deletion that keeps at least one."""
    some = kept[kept.any(axis=1)]
    return some / some.sum(axis=1, keepdims=True)


def _certain_count() -> int:
    """Return the number of deletions whose share has a lower bound above `CERTAIN`."""
    counts = np.arange(1, DELETIONS + 1)
    return int(counts[special.betaincinv(counts, DELETIONS - counts + 1, ERROR / 2) > CERTAIN][0])


def halvings(scores: EdgeScores, *, count: int = HALVINGS, seed: int = 0) -> Iterator[tuple[EdgeScores, EdgeScores]]:
    """Yield seeded random halves of the images as pairs of score sets; if the number is odd, one image is left out.

    Raises:
        InputError: there are no scores per image.

    Examples:
        >>> [(a.n_images, b.n_images) for a, b in halvings(scores, count=2)]
        [(4, 4), (4, 4)]
    """
    n = scores.n_images or len(scores.subset(np.arange(1)).mean)  # subset raises where there are none
    rng = np.random.default_rng(seed)
    for _ in range(count):
        order = rng.permutation(n)
        half = n // 2
        yield scores.subset(order[:half]), scores.subset(order[half : 2 * half])
