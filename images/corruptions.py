"""Corruptions: what a clean run is contrasted with, computed from the unattacked images in integer arithmetic.

A corruption is a value in a registry; adding one is one entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Int, UInt8

from ..circuits import UNATTACKED_TWIN, ClassInfo, Corruption
from ..circuits.kinds import Kind, Registry, whole
from ..errors import InputError
from .batch import Batch
from .params import number, share
from .partners import partner_classes, partners_param
from .seeds import Draws
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
        draws_on: returns the images of other classes that the corruption is computed from, given the same.
    """

    apply: Callable[[Corruption, Batch], Views]
    needs_attack: bool = False
    classes: Callable[[Corruption, ImageSource, ClassInfo, int, int], tuple[ClassInfo, ...]] = _no_classes
    draws_on: Callable[[Corruption, ImageSource, ClassInfo, int, int], tuple[ImageRef, ...]] = _no_images


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
    """Return the images of other classes that the corrupted images are computed from."""
    return CORRUPTIONS[corruption.kind].draws_on(corruption, source, cls, seed, count)


def corrupt(corruption: Corruption, batch: Batch) -> Views:
    """Return the corrupted counterparts of the batch's images.

    Raises:
        InputError: there are no partners, or the number of tiles does not divide the image's sides.
    """
    return CORRUPTIONS[corruption.kind].apply(corruption, batch)


def _other_class(corruption: Corruption, batch: Batch) -> Views:
    """Return every image's partner."""
    if len(batch.partners) != len(batch.refs):
        raise InputError(
            f"other-class: no class that {batch.cls.name!r} is contrasted with has a usable image in this split; "
            "add images to them, name other partners, or use another corruption"
        )
    return np.stack([batch.source.view(ref) for ref in batch.partners])


def _partners(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ClassInfo, ...]:
    return partner_classes(corruption["partners"], source, cls, seed=seed, count=count)


def _of_partners(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ImageRef, ...]:
    return tuple(ref for c in _partners(corruption, source, cls, seed, count) for ref in source.candidates(c))


def _mean_image(corruption: Corruption, batch: Batch) -> Views:
    mean = batch.source.mean_view(int(number(corruption["images"])))
    return mean[None].repeat(len(batch.refs), 0)


def _averaged(
    corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int
) -> tuple[ImageRef, ...]:
    return source.discovery_refs[: int(number(corruption["images"]))]


def _blur(corruption: Corruption, batch: Batch) -> Views:
    """Blur with a Gaussian; border pixels are repeated. Intermediate values have 12 bits, to avoid rounding twice."""
    weights = _gaussian(number(corruption["radius"]) * batch.views.shape[1])
    smooth = _smooth(_smooth(batch.views.astype(np.int64) * 16, weights, 1), weights, 2)
    return ((smooth + 8) // 16).clip(0, 255).astype(np.uint8)


def _gaussian(sigma: float) -> Int[np.ndarray, "tap"]:
    """Return integer weights out to three standard deviations (pixels)."""
    reach = max(1, ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.rint(weights * 65536).astype(np.int64)


def _smooth(images: Int[np.ndarray, "..."], weights: Int[np.ndarray, "tap"], axis: int) -> Int[np.ndarray, "..."]:
    """Return the weighted mean along an axis, rounded.

    The sums of integer products stay under 2^53, so they are exact in floating point, in any order.
    """
    length, reach, total = images.shape[axis], len(weights) // 2, int(weights.sum())
    band = np.zeros((length, length))
    rows = np.arange(length)
    for offset, weight in enumerate(weights, start=-reach):
        np.add.at(band, (rows, np.clip(rows + offset, 0, length - 1)), weight)
    sums = np.tensordot(band, images.astype(np.float64), (1, axis)).astype(np.int64)
    return np.moveaxis((2 * sums + total) // (2 * total), 0, axis)


def _patch_shuffle(corruption: Corruption, batch: Batch) -> Views:
    """Cut every image into tiles × tiles pieces, and put them together in an order that depends on the image."""
    tiles = int(number(corruption["tiles"]))
    height, width = batch.views.shape[1:3]
    if height % tiles or width % tiles:
        valid = [n for n in range(2, 65) if height % n == 0 and width % n == 0]
        raise InputError(
            f"patch-shuffle: tiles: {tiles} does not divide an image of {width} × {height} pixels; "
            f"expected one of {', '.join(map(str, valid))}"
        )
    return np.stack(
        [
            _shuffle(view, tiles, Draws("patch-shuffle", corruption.version, batch.seed, ref.hash))
            for ref, view in zip(batch.refs, batch.views, strict=True)
        ]
    )


def _shuffle(
    view: UInt8[np.ndarray, "height width 3"], tiles: int, draws: Draws
) -> UInt8[np.ndarray, "height width 3"]:
    height, width = view.shape[0] // tiles, view.shape[1] // tiles
    pieces = view.reshape(tiles, height, tiles, width, 3).swapaxes(1, 2).reshape(tiles**2, height, width, 3)
    mixed = pieces[draws.permutation(tiles**2)]
    return mixed.reshape(tiles, tiles, height, width, 3).swapaxes(1, 2).reshape(view.shape)


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
        CorruptionKind(
            key="other-class",
            name=(
                "each image is contrasted with one of another class: the other classes, in a seeded "
                "cyclic order, are assigned to the images in turn"
            ),
            version=2,
            apply=_other_class,
            params={"partners": partners_param()},
            classes=_partners,
            draws_on=_of_partners,
        ),
        CorruptionKind(
            key="mean-image",
            name="the mean of images of all classes",
            apply=_mean_image,
            params={"images": whole(256, 1, 100_000)},
            draws_on=_averaged,
        ),
        CorruptionKind(
            key="blur", name="the image blurred by a Gaussian", apply=_blur, params={"radius": share(0.1, 0.001, 1.0)}
        ),
        CorruptionKind(
            key="patch-shuffle",
            name="the image cut into tiles × tiles pieces, put together in random order",
            apply=_patch_shuffle,
            params={"tiles": whole(8, 2, 64)},
        ),
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
