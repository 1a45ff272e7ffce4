"""Maps over the patches or the pixels of each image: one number per place, from a function of a batch of images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...circuits import Axis, Readout, ReadoutUse
from ...circuits.kinds import choice
from ...circuits.recipe import Scalar
from ...errors import InputError
from ...models import ViT
from ..execution import Execution
from ..measured import MeasuredPairs
from .batched import image_axis, read_pairs
from .patch_grid import PatchGrid

OfPatches = Callable[[MeasuredPairs], Float[Tensor, "image patch"]]
OfPixels = Callable[[MeasuredPairs], Float[Tensor, "image channel height width"]]

BY = choice("patch", "pixel")
"""The parameter of gradient methods: the sum over the pixels of each patch, or one number per pixel."""

MAX_BYTES = 2**30
"""Maximum size of the maps over pixels that one call returns."""


def patch_map(model: ViT, pairs: MeasuredPairs, of: OfPatches, use: ReadoutUse, execution: Execution) -> Readout:
    """Return a map over patches `[image, patch_row, patch_column]`.

    Args:
        model: the model.
        pairs: the images.
        of: returns the numbers of a batch.
        use: the read-out with its parameters.
        execution: batch size and progress.
    """
    grid = PatchGrid.of(model)
    values = read_pairs(model, pairs, of, execution).reshape(len(pairs), grid.rows, grid.columns)
    return _map(pairs, values, grid.axes, use)


def pixel_map(model: ViT, pairs: MeasuredPairs, of: OfPixels, use: ReadoutUse, execution: Execution) -> Readout:
    """Return a map over pixels, summed over channels, or over patches, as its parameter `by` says.

    Raises:
        InputError: the maps over pixels would take more than `MAX_BYTES`.
    """
    if use["by"] == "patch":
        grid = PatchGrid.of(model)
        return patch_map(model, pairs, lambda batch: grid.sums(of(batch).sum(dim=1)), use, execution)
    _check_bytes(model, len(pairs))
    values = read_pairs(model, pairs, lambda batch: of(batch).sum(dim=1), execution)
    sides = zip(("pixel_row", "pixel_column"), model.image_size, strict=True)
    return _map(pairs, values, tuple(Axis(name, tuple(range(side))) for name, side in sides), use)


def _map(
    pairs: MeasuredPairs, values: Float[np.ndarray, "image row column"], axes: tuple[Axis, ...], use: ReadoutUse
) -> Readout:
    return Readout(use, (image_axis(len(pairs)), *axes), values, unit=pairs.metric.text, metric=pairs.metric)


def n_map_numbers(model: ViT, *, by: str = "patch", **params: Scalar) -> int:
    """Return how many numbers a map has."""
    return len(PatchGrid.of(model)) if by == "patch" else model.image_size[0] * model.image_size[1]


def _check_bytes(model: ViT, count: int) -> None:
    height, width = model.image_size
    size = count * height * width * model.exact_dtype.itemsize
    if size > MAX_BYTES:
        raise InputError(
            f"by: maps over pixels of {count} images take {size / 2**30:.1f} GiB ({count} × {height} × {width} numbers "
            f"of {model.exact_dtype.itemsize} bytes), more than {MAX_BYTES / 2**30:.0f} GiB; pass fewer images at a "
            "time, or by = 'patch'"
        )
