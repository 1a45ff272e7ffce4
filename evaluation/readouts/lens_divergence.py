"""Divergence of a lens: how far the class probabilities at each point are from those at the last.

D(p) = KL(softmax(logits_last) ‖ softmax(logits_p)), in nats
"""

from __future__ import annotations

from dataclasses import replace

from scipy.special import log_softmax, softmax

from ...circuits import Readout
from ...errors import InputError


def lens_divergence(lens: Readout) -> Readout:
    """Compute the KL divergence of the last point's class probabilities from each point's.

    Args:
        lens: logits with axes `point` and `class`, last: those of `logit_lens` or an affine lens, before the mean over
            images.

    Returns:
        Divergence with the other axes, in nats; 0 at the last point.

    Raises:
        InputError: a read-out that does not end with these axes.

    Examples:
        >>> lens_divergence(cs.logit_lens(model, pairs.clean)).mean().select(point="resid_post.3").values
        array(0.)
    """
    if lens.names[-2:] != ("point", "class"):
        raise InputError(f"lens: expected a read-out with the last axes point and class, got {lens.names}")
    logits = lens.values.astype(float)
    last = logits[..., -1:, :]
    values = (softmax(last, axis=-1) * (log_softmax(last, axis=-1) - log_softmax(logits, axis=-1))).sum(axis=-1)
    return replace(lens, axes=lens.axes[:-1], values=values, unit="nats", std=None)
