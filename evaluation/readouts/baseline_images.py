"""Baselines: the images that clean images, or patches of them, are contrasted with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from ...circuits.kinds import choice
from ...errors import InputError
from ...models import ViT
from ..measured import MeasuredPairs

Images = Float[Tensor, "image channel height width"]


def _black(model: ViT, pairs: MeasuredPairs) -> Images:
    return _pixel(model, 0.0).to(pairs.clean).expand(pairs.clean.shape)


def _grey(model: ViT, pairs: MeasuredPairs) -> Images:
    return _pixel(model, 0.5).to(pairs.clean).expand(pairs.clean.shape)


def _pixel(model: ViT, value: float) -> Float[Tensor, "1 3 1 1"]:
    """Return a normalised pixel of one grey level in [0, 1]."""
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (model.preprocess.mean, model.preprocess.std))
    return ((value - mean) / std).view(1, 3, 1, 1)


def _mean(model: ViT, pairs: MeasuredPairs) -> Images:
    if len(pairs) < 2:
        raise InputError(
            "baseline 'mean' is the mean of the clean images, and the mean of one image is the image itself; pass more "
            "images, or use another baseline"
        )
    mean = pairs.clean.mean(dim=0, keepdim=True, dtype=torch.float64)
    return mean.to(pairs.clean).expand(pairs.clean.shape)


def _blur(model: ViT, pairs: MeasuredPairs) -> Images:
    """Blur by a Gaussian whose standard deviation is a sixteenth of the shorter side, out to three of them."""
    sigma = min(model.image_size) / 16
    return gaussian_blur(pairs.clean, [2 * round(3 * sigma) + 1] * 2, [sigma] * 2)


BASELINES: dict[str, Callable[[ViT, MeasuredPairs], Images]] = {
    "black": _black,
    "grey": _grey,
    "mean": _mean,
    "blur": _blur,
    "corrupted": lambda model, pairs: pairs.corrupted,
}
"""Baselines by name: pixels of 0, pixels of ½, the mean of the clean images, the blurred image, the corrupted image."""

BASELINE = choice(*BASELINES)
"""The parameter of read-outs that contrast images with a baseline."""


def against(model: ViT, pairs: MeasuredPairs, baseline: str) -> MeasuredPairs:
    """Return the pairs with the baseline as their corrupted images.

    Raises:
        InputError: `corrupted` without corrupted images, or `mean` of one image.
    """
    return replace(pairs, corruption=BASELINES[baseline](model, pairs))
