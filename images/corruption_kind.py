"""What a kind of corruption provides, and what most kinds lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo, Corruption
from ..circuits.kinds import Kind
from ..errors import InputError
from ..models import ConstantOutputs, ViT
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


def _no_view(corruption: Corruption, batch: Batch) -> Views:
    raise InputError(
        f"corruption {corruption.kind}: replaces the outputs of senders by constants, so there is no corrupted image; "
        "use a corruption of images, such as 'mean-image'"
    )


@dataclass(frozen=True, kw_only=True)
class CorruptionKind(Kind):
    """A kind of corruption: of images or, with `constants`, of activations.

    Attributes:
        apply: returns the corrupted images of a batch.
        constants: returns the outputs that replace those of the senders, given source and model; None for corruptions
            of images.
        needs_attack: whether natural images would be contrasted with themselves.
        classes: returns the classes that images are paired with, given source, class, seed and the number of images.
        draws_on: returns the images that the corruption is computed from in addition to the clean ones, such as images
            of other classes or masks, given the same.
    """

    apply: Callable[[Corruption, Batch], Views] = _no_view
    constants: Callable[[Corruption, ImageSource, ViT], ConstantOutputs] | None = None
    needs_attack: bool = False
    classes: Callable[[Corruption, ImageSource, ClassInfo, int, int], tuple[ClassInfo, ...]] = _no_classes
    draws_on: Callable[[Corruption, ImageSource, ClassInfo, int, int], tuple[ImageRef, ...]] = _no_images
