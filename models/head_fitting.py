"""Fit a linear classifier to pooled tokens: scikit-learn's logistic regression, as a `LinearHead`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from .linear_head import LinearHead

PENALTIES = tuple(float(10.0**power) for power in range(-3, 4))
"""Values of C among which selection images choose: small values penalise large weights."""

MAX_ITERATIONS = 1000


def fit_head(
    features: Float[np.ndarray, "image width"],
    classes: Int[np.ndarray, "image"],
    labels: Sequence[str],
    penalty: float = 1.0,
) -> LinearHead:
    """Fit a linear classifier to features by logistic regression.

    The features are standardised for the fit; the head reads them as they come.

    Args:
        features: what the classifier reads, such as `model.pooled(images)`.
        classes: index of each image's class; every class has an image.
        labels: name of each class, at least two.
        penalty: scikit-learn's C; small values penalise large weights.

    Examples:
        >>> head = fit_head(np.array([[0.0, 1], [1, 1], [4, 1], [5, 1]]), np.array([0, 0, 1, 1]), ["left", "right"])
        >>> (torch.tensor([[0.5, 1], [4.5, 1]]) @ head.weight.T + head.bias).argmax(dim=1)
        tensor([0, 1])
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, std = features.mean(axis=0, dtype=float), features.std(axis=0, dtype=float)
    std[std == 0] = 1
    model = LogisticRegression(C=penalty, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the accuracy on selection images decides
        model.fit((features - mean) / std, classes)
    weight, bias = model.coef_ / std, model.intercept_
    if len(labels) == 2:  # scikit-learn has one row, the difference of two logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    bias = bias - weight @ mean
    return LinearHead(*(torch.from_numpy(a.astype(np.float32)) for a in (weight, bias)), labels=tuple(labels))
