"""Mahalanobis distance from class means, with one covariance for all classes, shrunk by the rule of Ledoit and Wolf.

    d²(x) = (x − μ_c)ᵀ Σ⁻¹ (x − μ_c) ,   Σ = (1 − ρ) S + ρ (tr S / d) I

S is the covariance of the reference images about their class means, of features in units of their standard deviation
within classes. ρ is that of scikit-learn. S has at most as many eigenvectors as there are images, so Σ⁻¹ is stored by
them: d features take images × d numbers, not d × d. With more features than images, S itself has no inverse.

Lee et al. 2018, arXiv 1807.03888; Ledoit and Wolf 2004, Journal of Multivariate Analysis 88.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ...circuits.kinds import choice
from .classes import class_means
from .kind import Arrays, Features, Rows, Statistic


def _fit(features: Features, rows: Rows, *, mean: str) -> dict[str, np.ndarray]:
    from sklearn.covariance import ledoit_wolf_shrinkage  # scikit-learn takes a second to import

    means = class_means(features, rows)
    centred = features - means[rows]
    scale = np.sqrt((centred**2).mean(axis=0))
    centred /= scale
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    _, singular, basis = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / len(features)
    kept = variances > variances.max() * np.finfo(float).eps * max(centred.shape)
    isotropic = shrinkage * (centred**2).mean()
    inverse = 1 / ((1 - shrinkage) * variances[kept] + isotropic)
    outside = 1 / isotropic if isotropic else 0.0  # without shrinkage every direction is in the basis
    return {
        "means": means,
        "scale": scale,
        "basis": basis[kept],
        "inverse": inverse - outside,
        "outside": np.array(outside),
        "shrinkage": np.array(shrinkage),
    }


def _score(arrays: Arrays, features: Features, rows: Rows, *, mean: str) -> Float[np.ndarray, "image"]:
    if mean == "predicted":
        return _squared(arrays, _deviations(arrays, features, rows))
    classes = range(len(arrays["means"]))
    each = [_squared(arrays, _deviations(arrays, features, np.full(len(features), c))) for c in classes]
    return np.min(each, axis=0)


def _squared(arrays: Arrays, deviations: Features) -> Float[np.ndarray, "image"]:
    along = deviations @ arrays["basis"].T
    return arrays["outside"] * (deviations**2).sum(axis=1) + along**2 @ arrays["inverse"]


def _deviations(arrays: Arrays, features: Features, rows: Rows) -> Features:
    return (features - arrays["means"][rows]) / arrays["scale"]


def gaussian(mean: str) -> Statistic:
    """Return the statistic whose default class mean is that of the `predicted` class, or the `nearest` one."""
    return Statistic(
        fit=_fit,
        score=_score,
        by_class=lambda mean: mean == "predicted",
        deviations=_deviations,
        params={"mean": choice("predicted", "nearest", default=mean)},
    )
