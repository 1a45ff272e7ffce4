"""A read-out over tokens as a map over patches."""

from __future__ import annotations

from ...circuits import Readout
from ...circuits.image_maps import on_grid
from ...errors import InputError
from ...models import ViT
from .patch_grid import PatchGrid


def on_patches(model: ViT, found: Readout, axis: str = "token") -> Readout:
    """Replace an axis of tokens by the rows and columns of patches; prefix tokens are left out.

    Args:
        model: the model whose tokens they are.
        found: a read-out of all tokens.
        axis: name of the axis.

    Raises:
        InputError: there is no such axis, or it does not have all tokens of the model.

    Examples:
        >>> effects = cs.patch_stream(model, pairs, points=["resid_pre.0"])
        >>> on_patches(model, effects.select(point="resid_pre.0")).names
        ('image', 'patch_row', 'patch_column')
    """
    tokens = found.axis(axis)
    if tokens.labels != tuple(range(model.n_tokens)):
        raise InputError(f"axis {axis!r}: expected all {model.n_tokens} tokens of {model.name}, got {len(tokens)}")
    return on_grid(found, PatchGrid.of(model).axes, axis)
