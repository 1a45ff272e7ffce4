"""The unattacked images of one class with those that they are paired with, and the cyclic order of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo
from .seeds import rank
from .source import ImageRef, ImageSource


@dataclass(frozen=True)
class Batch:
    """What a condition or a corruption is computed from.

    Attributes:
        source: of all images.
        cls: the class of `refs`.
        refs: the images.
        partners: for each image the one that it is paired with; empty where nothing is paired.
        seed: of everything random.
    """

    source: ImageSource
    cls: ClassInfo
    refs: tuple[ImageRef, ...]
    partners: tuple[ImageRef, ...]
    seed: int

    @cached_property
    def views(self) -> UInt8[np.ndarray, "image height width 3"]:
        """The images as the model sees them, unattacked, before normalisation."""
        return np.stack([self.source.view(ref) for ref in self.refs])


def class_cycle(classes: Sequence[ClassInfo], seed: int) -> tuple[ClassInfo, ...]:
    """The classes in a seeded order that is read as a circle; it does not depend on the order given."""
    return tuple(sorted(classes, key=lambda c: rank("cycle", seed, c.key)))


def later_class(classes: Sequence[ClassInfo], seed: int, cls: ClassInfo, steps: int) -> ClassInfo:
    """The class `steps` further in the cyclic order."""
    cycle = class_cycle(classes, seed)
    return cycle[(cycle.index(cls) + steps) % len(cycle)]
