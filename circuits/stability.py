"""Stability of a circuit under the choice of images: bootstrap frequency, and halves of the images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from .scores import EdgeScores

BOOTSTRAP_SAMPLES = 200
HALVINGS = 20


def bootstrap_frequency(
    per_image: Float[np.ndarray, "image edge"], n: int, *, absolute: bool = False, seed: int = 0
) -> Float[np.ndarray, "edge"]:
    """Return, per edge, the share of 200 seeded bootstrap samples of the images in which it is among the `n` best.

    `n` is the requested size, before pruning. Costs one matrix product and 200 partitions.

    Examples:
        >>> frequency = bootstrap_frequency(scores.per_image, 24)
        >>> frequency.shape, round(float(frequency.sum()), 3)
        ((479,), 24.0)
    """
    images, edges = per_image.shape
    if n <= 0:
        return np.zeros(edges, np.float32)
    if n >= edges:
        return np.ones(edges, np.float32)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=BOOTSTRAP_SAMPLES) / images
    counts = np.zeros(edges, np.int64)
    exact = per_image.astype(np.float64)
    for weight in weights:  # row by row: 200 × 32,491 doubles would be 52 MB
        value = weight @ exact
        if absolute:
            value = np.abs(value)
        counts[np.argpartition(-value, n - 1)[:n]] += 1
    return (counts / BOOTSTRAP_SAMPLES).astype(np.float32)


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
