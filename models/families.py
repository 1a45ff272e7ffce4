"""Convert every supported family to timm's VisionTransformer, which the rest of the package runs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import NotRepresentable
from .eva import from_eva

TOLERANCE = 1e-4

Logits = Callable[[Float[Tensor, "image channel height width"]], Float[Tensor, "image class"]]


def as_vision_transformer(module: nn.Module, size: tuple[int, int]) -> VisionTransformer:
    """Return a VisionTransformer unchanged, and rebuild a model of another family as one.

    Args:
        module: a model that passes `check_family`; its parts are reused, so do not use it afterwards.
        size: height and width of its images.

    Raises:
        NotRepresentable: the rebuilt model gives different logits for the same images.
    """
    if isinstance(module, VisionTransformer):
        return module
    assert isinstance(module, Eva)
    if next(module.parameters()).dtype.itemsize < 4:
        module = module.float()
    vit = from_eva(module.eval())
    check_same_logits(type(module).__name__, module, vit, size, next(module.parameters()))
    return vit


@torch.no_grad()
def check_same_logits(name: str, original: Logits, rebuilt: Logits, size: tuple[int, int], like: Tensor) -> None:
    """Compare a rebuilt model's logits with the original's on two random images with the device and dtype of `like`.

    Raises:
        NotRepresentable: the logits differ.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *size, generator=generator).to(like)
    expected, found = original(images), rebuilt(images)
    error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if error > TOLERANCE:
        raise NotRepresentable(
            f"{name}: rebuilt as a VisionTransformer, its logits differ by {error:.1e} (relative; expected at most "
            f"{TOLERANCE:g}); a part of the model is not represented"
        )
