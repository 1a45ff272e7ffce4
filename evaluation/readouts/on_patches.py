"""A read-out over tokens as a map over patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...circuits import Axis, Readout
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


def on_grid(found: Readout, grid: tuple[Axis, Axis], axis: str = "token") -> Readout:
    """Replace an axis of tokens by two axes; the last tokens are the patches, row by row.

    Args:
        found: a read-out of all tokens of a model.
        grid: the rows and columns of its patches.
        axis: name of the axis of tokens.
    """
    place, rows, columns = found.names.index(axis), len(grid[0]), len(grid[1])
    axes, n_tokens = (*found.axes[:place], *grid, *found.axes[place + 1 :]), len(found.axes[place])

    def gridded(values: np.ndarray) -> np.ndarray:
        patches = values.take(range(n_tokens - rows * columns, n_tokens), axis=place)
        return patches.reshape(*values.shape[:place], rows, columns, *values.shape[place + 1 :])

    std = None if found.std is None else gridded(found.std)
    return replace(found, axes=axes, values=gridded(found.values), std=std)
