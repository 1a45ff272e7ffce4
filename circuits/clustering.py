"""Clusters of circuits by their similarity: average linkage of 1 − similarity.

Functions import scipy's clustering themselves: it takes longer to load than a command that does not need it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def dendrogram_order(similarity: Float[np.ndarray, "circuit circuit"]) -> list[int]:
    """Return the order of the circuits in a dendrogram, so that similar ones are next to each other.

    Examples:
        >>> dendrogram_order(np.array([[1.0, 0.1, 0.9], [0.1, 1.0, 0.2], [0.9, 0.2, 1.0]]))
        [1, 0, 2]
    """
    from scipy.cluster import hierarchy

    if len(similarity) < 2:
        return list(range(len(similarity)))
    return hierarchy.leaves_list(_linkage(similarity)).tolist()


def clusters(similarity: Float[np.ndarray, "circuit circuit"], count: int) -> Int[np.ndarray, "circuit"]:
    """Return the cluster of each circuit, from 1, in at most so many clusters.

    Examples:
        >>> clusters(np.array([[1.0, 0.1, 0.9], [0.1, 1.0, 0.2], [0.9, 0.2, 1.0]]), 2)
        array([1, 2, 1]...)
    """
    from scipy.cluster import hierarchy

    if len(similarity) < 2:
        return np.ones(len(similarity), int)
    return hierarchy.fcluster(_linkage(similarity), count, "maxclust").astype(int)


def _linkage(similarity: Float[np.ndarray, "circuit circuit"]) -> Float[np.ndarray, "merge 4"]:
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    distance = 1 - np.nan_to_num(similarity, nan=0.0)
    np.fill_diagonal(distance, 0)
    return hierarchy.linkage(squareform(distance, checks=False), "average")
