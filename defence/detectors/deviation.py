"""Mean squared deviation from the predicted class, feature by feature: for few reference images of a class.

    z_i = (x_i − μ_c,i) / (σ_c,i + σ_i / 4) ,   score = mean over i of z_i²

σ_c is the standard deviation within the class, σ that over the images of all classes, which bounds z if few images of
the class happen to agree.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from .classes import class_deviations, class_means
from .kind import Arrays, Features, Rows, Statistic


def _fit(features: Features, rows: Rows) -> dict[str, np.ndarray]:
    spreads = class_deviations(features, rows) + features.std(axis=0) / 4
    return {"means": class_means(features, rows), "spreads": spreads}


def _deviations(arrays: Arrays, features: Features, rows: Rows) -> Features:
    return (features - arrays["means"][rows]) / arrays["spreads"][rows]


def _score(arrays: Arrays, features: Features, rows: Rows) -> Float[np.ndarray, "image"]:
    return (_deviations(arrays, features, rows) ** 2).mean(axis=1)


MEAN_SQUARED = Statistic(fit=_fit, score=_score, by_class=lambda: True, deviations=_deviations)
"""The mean of z² over features."""
