"""A batch of one class's unattacked images with their partners, and the cyclic order of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo, Variant
from ..models import ViT
from .seeds import Draws
from .source import ImageRef, ImageSource


@dataclass(frozen=True)
class Batch:
    """The input of a condition or a corruption.

    Attributes:
        source: source of all images.
        cls: the class of `refs`.
        refs: the images.
        partners: the partner of each image; empty if the corruption pairs nothing.
        seed: seed of everything random.
        model: the model whose gradients a gradient attack follows; None where no condition needs one.
    """

    source: ImageSource
    cls: ClassInfo
    refs: tuple[ImageRef, ...]
    partners: tuple[ImageRef, ...]
    seed: int
    model: ViT | None = None

    @cached_property
    def views(self) -> UInt8[np.ndarray, "image height width 3"]:
        """The unattacked images as the model sees them, before normalisation."""
        return np.stack([self.source.view(ref) for ref in self.refs])


def with_draws(batch: Batch, variant: Variant) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], Draws]]:
    """Yield each image with the random choices of a condition or corruption for it, which depend on no other image."""
    for ref, view in zip(batch.refs, batch.views, strict=True):
        yield view, Draws(variant.kind, variant.version, batch.seed, ref.hash)
