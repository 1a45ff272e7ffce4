"""Means and standard deviations of features by class."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from .kind import Features, Rows

ByClass = Float[np.ndarray, "class feature"]


def class_means(features: Features, rows: Rows) -> ByClass:
    """Return the mean of each feature over the images of each class; every class has images."""
    return np.stack([features[rows == row].mean(axis=0) for row in range(rows.max() + 1)])


def class_deviations(features: Features, rows: Rows) -> ByClass:
    """Return the standard deviation of each feature over the images of each class."""
    return np.stack([features[rows == row].std(axis=0) for row in range(rows.max() + 1)])


def within_deviation(features: Features, rows: Rows) -> Float[np.ndarray, "feature"]:
    """Return the standard deviation of each feature about its class means."""
    return np.sqrt(((features - class_means(features, rows)[rows]) ** 2).mean(axis=0))
