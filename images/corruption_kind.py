"""What a kind of corruption provides, and what most kinds lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo, Corruption
from ..circuits.kinds import Kind
from .batch import Batch
from .source import ImageRef, ImageSource

Views = UInt8[np.ndarray, "image height width 3"]


def _no_classes(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ClassInfo, ...]:
    return ()


def _no_images(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ImageRef, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class CorruptionKind(Kind):
    """A kind of corruption.

    Attributes:
        apply: returns the corrupted images of a batch.
        needs_attack: whether natural images would be contrasted with themselves.
        classes: returns the classes that images are paired with, given source, class, seed and the number of images.
        draws_on: returns the images that the corruption is computed from in addition to the clean ones, such as images
            of other classes or masks, given the same.
    """

    apply: Callable[[Corruption, Batch], Views]
    needs_attack: bool = False
    classes: Callable[[Corruption, ImageSource, ClassInfo, int, int], tuple[ClassInfo, ...]] = _no_classes
    draws_on: Callable[[Corruption, ImageSource, ClassInfo, int, int], tuple[ImageRef, ...]] = _no_images
