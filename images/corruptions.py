"""Corruptions: what a clean run is contrasted with.

They are computed from the unattacked images as 8-bit pixels, or replace the outputs of senders by constants.

A corruption is a value in a registry; adding one is one entry.
"""

from __future__ import annotations

from ..circuits import UNATTACKED_TWIN, ClassInfo, Corruption
from ..circuits.kinds import Registry
from ..errors import InputError
from ..models import ConstantOutputs, ViT
from .ablations import MEAN, ZERO
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
    """Return the images that the corruption is computed from in addition to the clean ones, such as masks.

    Examples:
        >>> mean = CORRUPTIONS.resolve("mean", {"images": 5})
        >>> draws_on(mean, source, source.class_named("three"), seed=0, count=8) == source.discovery_refs()[:5]
        True
    """
    return CORRUPTIONS[corruption.kind].draws_on(corruption, source, cls, seed, count)


def corrupt(corruption: Corruption, batch: Batch) -> Views:
    """Return the corrupted counterparts of the batch's images.

    Raises:
        InputError: the corruption has no image, there are no partners or masks, or the number of tiles does not divide
            the image's sides.
    """
    return CORRUPTIONS[corruption.kind].apply(corruption, batch)


def has_image(corruption: Corruption) -> bool:
    """Return whether a corruption has corrupted images; otherwise it replaces the outputs of senders by constants.

    Examples:
        >>> has_image(CORRUPTIONS.resolve("mean-image")), has_image(CORRUPTIONS.resolve("mean"))
        (True, False)
    """
    return CORRUPTIONS[corruption.kind].constants is None


def constants_of(corruption: Corruption, source: ImageSource, model: ViT) -> ConstantOutputs:
    """Return the outputs that replace those of a model's senders.

    Raises:
        InputError: the corruption acts on images, or there is no image to average over.
    """
    constants = CORRUPTIONS[corruption.kind].constants
    if constants is None:
        raise InputError(f"corruption {corruption.kind}: acts on images, not on the outputs of senders")
    return constants(corruption, source, model)


_OTHER_NAMES = {
    "zero-ablation": "'zero-ablation' is named 'zero'",
    "mean-ablation": "'mean-ablation' is named 'mean'",
    "optimal-ablation": "'optimal-ablation' learns constants, which is not available; 'mean' replaces by means",
}
"""Names that papers use for corruptions of activations, with the error text for each."""

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
        MEAN,
        ZERO,
        CorruptionKind(
            key=UNATTACKED_TWIN,
            name="the image before the attack; for attacked conditions only",
            apply=lambda corruption, batch: batch.views,
            needs_attack=True,
        ),
    ),
    hints=_OTHER_NAMES,
)
"""All corruptions by key."""
