"""Every family that is taken, as timm's VisionTransformer: what all else here runs on."""

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
    """A VisionTransformer is given back as it is; another family's parts are put together as one.

    Args:
        module: of a family that `check_family` passes; its parts are used, so it is not to be used any more.
        size: height and width of its images.

    Raises:
        NotRepresentable: the two do not give the same logits for the same images.
    """
    if isinstance(module, VisionTransformer):
        return module
    assert isinstance(module, Eva)
    if next(module.parameters()).dtype.itemsize < 4:
        module = module.float()
    vit = from_eva(module.eval())
    hold_same(type(module).__name__, module, vit, size, next(module.parameters()))
    return vit


@torch.no_grad()
def hold_same(name: str, original: Logits, rebuilt: Logits, size: tuple[int, int], like: Tensor) -> None:
    """Hold a rebuilt model to the original on two random images of a tensor's device and dtype.

    Raises:
        NotRepresentable: their logits differ.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *size, generator=generator).to(like)
    expected, found = original(images), rebuilt(images)
    error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if error > TOLERANCE:
        raise NotRepresentable(
            f"{name} put together as a VisionTransformer should give the same logits to {TOLERANCE:g} "
            f"(relative), found {error:.1e}; a part of it is not represented"
        )
