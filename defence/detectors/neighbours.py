"""Distance to the k-th nearest reference image, of features of unit length.

Sun et al. 2022, arXiv 2204.06507.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ...circuits.kinds import choice, whole
from ...errors import InputError
from .kind import Arrays, Features, Rows, Statistic


def _unit(features: Features) -> Features:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths == 0, 1, lengths)


def _fit(features: Features, rows: Rows, *, neighbours: int, among: str) -> dict[str, np.ndarray]:
    fewest = np.bincount(rows).min() if among == "predicted" else len(rows)
    if fewest < neighbours:
        where = "of a class" if among == "predicted" else "in total"
        raise InputError(
            f"neighbours: expected at most the number of reference images {where}, {fewest}, got {neighbours}; "
            "lower it, or give more images"
        )
    return {"reference": _unit(features), "rows": rows}


def _score(
    arrays: Arrays, features: Features, rows: Rows, *, neighbours: int, among: str
) -> Float[np.ndarray, "image"]:
    if among == "all":
        return _distance(arrays["reference"], features, neighbours)
    scores = np.empty(len(features))
    for row in np.unique(rows):
        scores[rows == row] = _distance(arrays["reference"][arrays["rows"] == row], features[rows == row], neighbours)
    return scores


def _distance(
    reference: Float[np.ndarray, "reference feature"], features: Features, neighbours: int
) -> Float[np.ndarray, "image"]:
    from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

    found = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(reference)
    distances, _ = found.kneighbors(_unit(features))
    return distances[:, -1]


def nearest_neighbours(among: str) -> Statistic:
    """Return the statistic with neighbours among `all` reference images or those of the `predicted` class."""
    return Statistic(
        fit=_fit,
        score=_score,
        by_class=lambda neighbours, among: among == "predicted",
        params={"neighbours": whole(5), "among": choice("all", "predicted", default=among)},
    )
