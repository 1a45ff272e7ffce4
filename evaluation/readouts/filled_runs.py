"""Runs of images in which some patches show the baseline."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...models import ViT
from ..measured import MeasuredPairs
from .patch_grid import PatchGrid

PerImage = Callable[[Float[Tensor, "image class"]], Float[Tensor, "image"]]


def filled_runs(
    model: ViT, batch: MeasuredPairs, kept: Bool[Tensor, "run image patch"], at_once: int, value: PerImage | None = None
) -> Float[Tensor, "run image"]:
    """Return the metric of runs in which the patches that are not kept show the corrupted image's pixels.

    Args:
        model: the model.
        batch: the images; their corrupted images are the baseline.
        kept: the patches that show the clean image.
        at_once: number of images that are run together, at least those of one run.
        value: returns a number per image from logits, by default the metric.
    """
    grid, value = PatchGrid.of(model), value or batch.values
    clean, baseline = (images.to(model.device, model.dtype) for images in (batch.clean, batch.corrupted))
    values = []
    for part in kept.split(max(1, at_once // len(batch))):
        shown = grid.pixels(part)[:, :, None].to(model.device)
        logits = model.logits(torch.where(shown, clean, baseline).flatten(0, 1)).unflatten(0, part.shape[:2])
        values += [value(run) for run in logits.to(model.exact_dtype)]
    return torch.stack(values)
