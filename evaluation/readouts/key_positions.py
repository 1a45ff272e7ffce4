"""Key positions: the fewest places that carry most of the positive effect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...circuits import Readout
from ...errors import InputError


def key_positions(effects: Readout, axis: str = "token", share: int | float = 0.9) -> Readout:
    """Return the fewest places along an axis whose effects sum to a share of all positive effects.

    Average over images first for the key positions of a class: `key_positions(effects.mean())`.

    Args:
        effects: effects such as those of `patch_stream`.
        axis: the axis with the places.
        share: the share that they reach.

    Returns:
        1 at key positions and 0 elsewhere, with the axes of `effects`. Without positive effects there are none.

    Raises:
        InputError: there is no such axis, or a share that is not in (0, 1].

    Examples:
        >>> effects = cs.patch_stream(model, pairs, points=["resid_post.3"]).mean()
        >>> key_positions(effects).values.sum()
        np.float64(1.0)
    """
    if not 0 < share <= 1:
        raise InputError(f"share: expected a number over 0 and at most 1, got {share!r}")
    place = effects.names.index(effects.axis(axis).name)
    positive = np.moveaxis(effects.values, place, -1).clip(min=0).astype(np.float64)
    order = np.argsort(-positive, axis=-1, kind="stable")
    largest = np.take_along_axis(positive, order, axis=-1)
    before = np.cumsum(largest, axis=-1) - largest
    chosen = (before < share * positive.sum(axis=-1, keepdims=True) * (1 - 1e-12)) & (largest > 0)
    found = np.zeros_like(positive)
    np.put_along_axis(found, order, chosen.astype(np.float64), axis=-1)
    return replace(effects, values=np.moveaxis(found, -1, place), std=None, unit="key position")
