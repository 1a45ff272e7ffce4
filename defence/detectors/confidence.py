"""Statistics of the logits that need no reference images.

Maximum softmax probability: Hendrycks and Gimpel 2017, arXiv 1610.02136. Energy: Liu et al. 2020, arXiv 2010.03759.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import special

from ...circuits.kinds import number
from .kind import Arrays, Features, Rows, Statistic


def _max_softmax(arrays: Arrays, features: Features, rows: Rows) -> Float[np.ndarray, "image"]:
    """Return minus the logarithm of the highest probability, which has the order of one minus it, without rounding."""
    return _log_sum_exp(features) - features.max(axis=1)


def _energy(arrays: Arrays, features: Features, rows: Rows, *, temperature: float) -> Float[np.ndarray, "image"]:
    return -temperature * _log_sum_exp(features / temperature)


def _log_sum_exp(features: Features) -> Float[np.ndarray, "image"]:
    return np.asarray(special.logsumexp(features, axis=1))


MAX_SOFTMAX = Statistic(score=_max_softmax)
"""How far the highest probability is from 1."""

ENERGY = Statistic(score=_energy, params={"temperature": number(1.0, "a number above 0", lambda value: value > 0)})
"""Minus the temperature times the log-sum-exp of the logits over the temperature."""
