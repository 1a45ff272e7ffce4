"""The tensors that a work item is answered from: attacked images, corrupted counterparts, labels, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import ClassInfo, Condition, Corruption
from ..errors import InputError
from ..models import ViT
from .batch import Batch
from .conditions import attack, is_attack, target_of, words
from .corruptions import corrupt, draws_on, needs_attack
from .source import ImageRef, ImageSource


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one class under one condition, on the CPU.

    Attributes:
        hashes: SHA-256 (hex) of the content of each image.
        clean: the images under the condition, normalised for the model.
        corrupted: their counterparts, computed from the unattacked images.
        labels: logit of the true class.
        targets: logit of the class that the attack aims at; None where it aims at none.
    """

    hashes: tuple[str, ...]
    clean: Float[Tensor, "image 3 height width"]
    corrupted: Float[Tensor, "image 3 height width"]
    labels: Int[Tensor, "image"]
    targets: Int[Tensor, "image"] | None


def surroundings(
    source: ImageSource, cls: ClassInfo, condition: Condition, corruption: Corruption, *, seed: int = 0
) -> tuple[str, ...]:
    """What an image set of the class is made from besides the class's own candidates: part of what a question is.

    Content hashes of the next class's images (`other-class`) or of those averaged (`mean-image`), and the
    word that an attack writes. Another set of class folders can change them though the class stays as it is.

    Raises:
        InputError: an attack that cannot be carried out on this source.
    """
    return (
        *(ref.hash for ref in draws_on(corruption, source, cls, seed)),
        *words(condition, source, cls, seed),
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
) -> ImageSet:
    """The image set of one class, condition and corruption.

    Args:
        refs: the images, of one split.
        partners: images of the next class of `class_cycle` in the same split, for `other-class`.

    Raises:
        InputError: no images; a corruption that needs what is not there; an attack that cannot be carried out.
        BadImage: an image that cannot be decoded (any more).
    """
    if not refs:
        raise InputError(f"class {cls.name!r}: no images to build a set from")
    if needs_attack(corruption) and not is_attack(condition):
        raise InputError(
            f"corruption {corruption.kind}: contrasts an attacked image with itself unattacked, but the condition is "
            f"{condition.kind}; choose an attack or another corruption"
        )
    batch = Batch(source, cls, tuple(refs), tuple(partners), seed)
    target = target_of(condition, source, cls, seed)
    size = (len(batch.refs),)
    return ImageSet(
        hashes=tuple(ref.hash for ref in batch.refs),
        clean=model.preprocess.normalise(attack(condition, batch)),
        corrupted=model.preprocess.normalise(corrupt(corruption, batch)),
        labels=torch.full(size, cls.class_index, dtype=torch.int64),
        targets=None if target is None else torch.full(size, target, dtype=torch.int64),
    )
