"""The tensors that a work item is answered from: attacked images, corrupted counterparts, labels, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import ClassInfo, Condition, Contrast, Corruption
from ..errors import InputError
from ..models import ViT
from .batch import Batch
from .conditions import Views, attack, attacked_file, is_attack, target_of, words
from .corruptions import contrast_classes, corrupt, draws_on, needs_attack
from .source import ImageRef, ImageSource


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one class under one condition, on the CPU.

    Attributes:
        hashes: SHA-256 (hex) of the content of each image.
        clean: the images under the condition, normalised for the model.
        corrupted: their counterparts, computed from the unattacked images.
        labels: logit of the true class.
        targets: logit of the class that the metric or the attack aims at; None where neither aims at one.
        partners: for each image the one that its counterpart is, where it is another image.
    """

    hashes: tuple[str, ...]
    clean: Float[Tensor, "image 3 height width"]
    corrupted: Float[Tensor, "image 3 height width"]
    labels: Int[Tensor, "image"]
    targets: Int[Tensor, "image"] | None
    partners: tuple[ImageRef, ...] = ()


def surroundings(
    source: ImageSource,
    cls: ClassInfo,
    condition: Condition,
    corruption: Corruption,
    *,
    count: int,
    seed: int = 0,
    target: int | None = None,
) -> tuple[str, ...]:
    """What an image set of the class is made from besides the class's own candidates: part of what a question is.

    Content hashes of the contrast classes' images (`other-class`) or of those averaged (`mean-image`), the word that
    an attack writes or the hashes of the attacked images (`folder`), and the target class. Another set of class
    folders can change them though the class stays as it is.

    Args:
        count: images of the class over all splits.
        target: class that the metric aims at; default: the attack's.

    Raises:
        InputError: an attack or a pairing that cannot be carried out on this source.
    """
    aim = target_of(condition, source, cls, seed) if target is None else target
    return (
        *(ref.hash for ref in draws_on(corruption, source, cls, seed=seed, most=count)),
        *words(condition, source, cls, seed),
        *(twin.hash for ref in source.candidates(cls) if (twin := attacked_file(condition, source, ref))),
        *([] if aim is None else [f"target {aim}"]),
    )


def contrast(
    source: ImageSource,
    cls: ClassInfo,
    condition: Condition,
    corruption: Corruption,
    *,
    count: int,
    seed: int = 0,
    target: int | None = None,
) -> Contrast:
    """The same by name: the written word, the target class, and the classes that corrupted images come from."""
    aim = target_of(condition, source, cls, seed) if target is None else target
    written = words(condition, source, cls, seed)
    return Contrast(
        word=" ".join(written) or None,
        target=None if aim is None else source.name_of(aim),
        against=tuple(c.name for c in contrast_classes(corruption, source, cls, seed=seed, most=count)),
    )


def build_set(
    source: ImageSource,
    model: ViT,
    cls: ClassInfo,
    refs: Sequence[ImageRef],
    condition: Condition,
    corruption: Corruption,
    *,
    seed: int = 0,
    partners: Sequence[ImageRef] = (),
    target: int | None = None,
) -> ImageSet:
    """The image set of one class, condition and corruption.

    Args:
        refs: the images, of one split.
        partners: for `other-class` the partner of each image, see `deal`.
        target: class that the metric aims at; default: the attack's.

    Raises:
        InputError: no images; a corruption that needs what is not there; an attack that cannot be carried out.
        BadImage: an image that cannot be decoded (any more).
    """
    attacked, corrupted = build_views(source, cls, refs, condition, corruption, seed=seed, partners=partners)
    aim = target_of(condition, source, cls, seed) if target is None else target
    size = (len(refs),)
    return ImageSet(
        hashes=tuple(ref.hash for ref in refs),
        clean=model.preprocess.normalise(attacked),
        corrupted=model.preprocess.normalise(corrupted),
        labels=torch.full(size, cls.class_index, dtype=torch.int64),
        targets=None if aim is None else torch.full(size, aim, dtype=torch.int64),
        partners=tuple(partners),
    )


def build_views(
    source: ImageSource,
    cls: ClassInfo,
    refs: Sequence[ImageRef],
    condition: Condition,
    corruption: Corruption,
    *,
    seed: int = 0,
    partners: Sequence[ImageRef] = (),
) -> tuple[Views, Views]:
    """The same images as people see them, not normalised: under the condition, and corrupted.

    Arguments and errors as of `build_set`.
    """
    if not refs:
        raise InputError(f"class {cls.name!r}: no images to build a set from")
    if needs_attack(corruption) and not is_attack(condition):
        raise InputError(
            f"corruption {corruption.kind}: contrasts an attacked image with itself unattacked, but the condition is "
            f"{condition.kind}; choose an attack or another corruption"
        )
    batch = Batch(source, cls, tuple(refs), tuple(partners), seed)
    return attack(condition, batch), corrupt(corruption, batch)
