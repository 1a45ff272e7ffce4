"""A batch of one class's unattacked images with their partners, and the cyclic order of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo, Variant
from ..models import ViT
from .seeds import Draws, rank
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


def class_cycle(classes: Sequence[ClassInfo], seed: int) -> tuple[ClassInfo, ...]:
    """Return the classes in a seeded cyclic order, which does not depend on their order in `classes`.

    Examples:
        >>> [c.name for c in class_cycle(source.classes, seed=0)][:3]
        ['six', 'three', 'four']
    """
    return tuple(sorted(classes, key=lambda c: rank("cycle", seed, c.key)))


def later_class(classes: Sequence[ClassInfo], seed: int, cls: ClassInfo, steps: int) -> ClassInfo:
    """Return the class `steps` later in the cyclic order."""
    cycle = class_cycle(classes, seed)
    return cycle[(cycle.index(cls) + steps) % len(cycle)]


def with_draws(batch: Batch, variant: Variant) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], Draws]]:
    """Yield each image with the random choices of a condition or corruption for it, which depend on no other image."""
    for ref, view in zip(batch.refs, batch.views, strict=True):
        yield view, Draws(variant.kind, variant.version, batch.seed, ref.hash)
