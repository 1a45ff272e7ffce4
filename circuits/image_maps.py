"""Read-outs as maps over the patches or pixels of an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .readout import Axis, Readout
from .readout_record import IMAGE, ReadoutRecord

MAPS = (("patch_row", "patch_column"), ("pixel_row", "pixel_column"))
"""Axes of maps, without images."""

_TOKENS = ("token", "source_token")

_SUMMED = {
    "footprint": ("layer",),
    "logit-attribution": ("layer", "head"),
    "attention-times-gradient": ("layer", "head"),
}
"""Axes that add up to one map over tokens, by kind of read-out. The edges of a footprint all come from `input`."""


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


def of_true_class(record: ReadoutRecord, found: Readout) -> Readout:
    """Return the numbers of the record's class, if the read-out has an axis of classes."""
    if "class" not in found.names:
        return found
    return found.select(**{"class": found.axis("class").labels[record.item.target_class.class_index]})


def maps_of(record: ReadoutRecord, found: Readout) -> Readout | None:
    """Return numbers of a record as maps: the last two axes are rows and columns. None if they are no maps.

    Other axes (layer, head, edges, point, query, image) are kept; of classes, only the true one.

    Args:
        record: the record.
        found: its mean, or its numbers of each image.
    """
    found = of_true_class(record, found)
    if found.names[-2:] in MAPS:
        return found
    sides = record.provenance.get("patches")
    if sides is None or found.names[-1:] not in [(name,) for name in _TOKENS]:
        return None
    tokens = found.axes[-1]
    if tokens.labels != tuple(range(len(tokens))) or len(tokens) < sides[0] * sides[1]:
        return None
    rows, columns = (tuple(range(side)) for side in sides)
    return on_grid(found, (Axis("patch_row", rows), Axis("patch_column", columns)), tokens.name)


def map_of(record: ReadoutRecord, found: Readout) -> Readout | None:
    """Return numbers of a record as one map, image by image if they are; None if they are no map, or several.

    Axes of parts that add up, such as heads of direct logits, are summed.

    Args:
        record: the record.
        found: its mean, or its numbers of each image.
    """
    maps = maps_of(record, found)
    if maps is None:
        return None
    for axis in added_axes(maps):
        maps = _summed(maps, axis)
    return maps if tuple(name for name in maps.names if name != IMAGE) in MAPS else None


def added_axes(maps: Readout) -> tuple[str, ...]:
    """Return the axes whose parts add up to one map."""
    return tuple(axis for axis in _SUMMED.get(maps.use.kind, ()) if axis in maps.names)


def _summed(found: Readout, axis: str) -> Readout:
    """Return the sum over an axis, without standard deviation."""
    mean = found.mean(axis)
    return replace(mean, values=mean.values * len(found.axis(axis)), std=None)
