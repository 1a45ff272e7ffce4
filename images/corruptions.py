"""Corruptions: what a clean run is contrasted with, computed from the unattacked images as 8-bit pixels.

A corruption is a value in a registry; adding one is one entry.
"""

from __future__ import annotations

from ..circuits import UNATTACKED_TWIN, ClassInfo, Corruption
from ..circuits.kinds import Registry
from .batch import Batch
from .contrasts import CLASS_MEAN, MEAN_IMAGE, OTHER_CLASS
from .corruption_kind import CorruptionKind, Views
from .degradations import BLUR, GAUSSIAN_NOISE, PATCH_SHUFFLE
from .inpainting import INPAINT
from .source import ImageRef, ImageSource


def needs_attack(corruption: Corruption) -> bool:
    """Return whether natural images would be contrasted with themselves.

    Examples:
        >>> needs_attack(CORRUPTIONS.resolve("blur")), needs_attack(CORRUPTIONS.resolve("unattacked-twin"))
        (False, True)
    """
    return CORRUPTIONS[corruption.kind].needs_attack


def contrast_classes(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, *, seed: int, count: int
) -> tuple[ClassInfo, ...]:
    """Return the classes that images of `cls` are paired with, in the order of pairing; none for most corruptions.

    Args:
        corruption: the corruption.
        source: source of the images.
        cls: class of the clean images.
        seed: seed of the cyclic order.
        count: number of images of the class over all splits.

    Raises:
        InputError: the source has no class of a given name, or no other class.

    Examples:
        >>> other = CORRUPTIONS.resolve("other-class", {"partners": "five, eight"})
        >>> [c.name for c in contrast_classes(other, source, source.class_named("three"), seed=0, count=8)]
        ['five', 'eight']
    """
    return CORRUPTIONS[corruption.kind].classes(corruption, source, cls, seed, count)


def draws_on(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, *, seed: int, count: int
) -> tuple[ImageRef, ...]:
    """Return the images that the corrupted images are computed from: of other classes, or masks."""
    return CORRUPTIONS[corruption.kind].draws_on(corruption, source, cls, seed, count)


def corrupt(corruption: Corruption, batch: Batch) -> Views:
    """Return the corrupted counterparts of the batch's images.

    Raises:
        InputError: there are no partners or masks, or the number of tiles does not divide the image's sides.
    """
    return CORRUPTIONS[corruption.kind].apply(corruption, batch)


_ON_ACTIVATIONS = (
    "{!r} acts on activations, so there is no corrupted image for gradients or for the corrupted run; the closest "
    "corruption of images is 'mean-image'"
)
ACTIVATION_SPACE = {key: _ON_ACTIVATIONS.format(key) for key in ("zero-ablation", "mean-ablation", "optimal-ablation")}
"""Known ablations that act on activations, with the error text for each."""

CORRUPTIONS: Registry[CorruptionKind, Corruption] = Registry(
    "corruption",
    "corruptions",
    Corruption,
    (
        OTHER_CLASS,
        MEAN_IMAGE,
        CLASS_MEAN,
        BLUR,
        PATCH_SHUFFLE,
        GAUSSIAN_NOISE,
        INPAINT,
        CorruptionKind(
            key=UNATTACKED_TWIN,
            name="the image before the attack; for attacked conditions only",
            apply=lambda corruption, batch: batch.views,
            needs_attack=True,
        ),
    ),
    hints=ACTIVATION_SPACE,
)
"""All corruptions by key."""
