"""The gradient of a metric with respect to the pixels of images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import ViT
from ..measured import MeasuredPairs

Images = Float[Tensor, "image channel height width"]


def pixel_gradient(model: ViT, batch: MeasuredPairs, images: Images) -> Images:
    """Return the gradient of the batch's metric at other images, with respect to normalised pixels."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()  # a clone: tensors of inference mode have no gradient
        (gradient,) = torch.autograd.grad(batch.values(model.module(leaf)).sum(), leaf)
    return gradient.to(model.exact_dtype)


def ends(model: ViT, batch: MeasuredPairs) -> tuple[Images, Images]:
    """Return the clean images and their baseline on the model's device and in its dtype."""
    clean, baseline = (images.to(model.device, model.dtype) for images in (batch.clean, batch.corrupted))
    return clean, baseline


def scaled(model: ViT, values: tuple[float, ...]) -> Float[Tensor, "1 3 1 1"]:
    """Return one number per channel, to multiply images with."""
    return torch.tensor(values, dtype=model.exact_dtype, device=model.device).view(1, 3, 1, 1)
