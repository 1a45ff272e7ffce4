"""Images with their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError
from ..evaluation import ImagePairs
from ..evaluation.pairs import Indices, check_images, checked_classes
from ..models import ViT, runs_model

L = TypeVar("L", bound="LabelledImages")


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledImages:
    """Images with their classes. Created by `LabelledImages.of`.

    Attributes:
        images: normalised images.
        labels: index of each image's true class.
        hashes: SHA-256 (hex) of each image's content, before any attack; empty if the images have no files.
    """

    images: Float[Tensor, "image channel height width"]
    labels: Int[Tensor, "image"]
    hashes: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: ViT, images: Tensor, labels: Indices, *, hashes: Sequence[str] = ()) -> LabelledImages:
        """Check images and their classes against a model.

        Args:
            model: the model that the images are normalised for.
            images: normalised images `[image, channel, height, width]`.
            labels: index of the true class, one per image.
            hashes: SHA-256 (hex) of each image's content.

        Raises:
            InputError: images or labels that do not fit the model, or not one hash per image.

        Examples:
            >>> LabelledImages.of(model, pairs.clean, pairs.labels)
            LabelledImages(8 images of 1 classes)
        """
        return checked(model, images, labels, tuple(hashes))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self: L, which: Sequence[int] | np.ndarray) -> L:
        """Return the images at these positions, or those that a mask keeps."""
        found = np.asarray(which)
        at = torch.as_tensor(np.flatnonzero(found) if found.dtype == bool else found.astype(int))
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: _at(of, at) for name, of in values.items()})

    def of_class(self: L, label: int) -> L:
        """Return the images of a class."""
        return self[self.labels.cpu().numpy() == label]

    def spread(self: L, count: int) -> L:
        """Return at most `count` images, spread evenly over all."""
        return self[np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images of {len(self.labels.unique())} classes)"


def _at(values: Tensor | tuple[str, ...], positions: Int[Tensor, "position"]) -> Tensor | tuple[str, ...]:
    """Return the entries at positions; an empty tuple stays empty."""
    if isinstance(values, Tensor):
        return values[positions]
    return tuple(values[k] for k in positions.tolist()) if values else ()


@runs_model
def checked(model: ViT, images: Tensor, labels: Indices, hashes: tuple[str, ...]) -> LabelledImages:
    """Return checked images, see `LabelledImages.of`."""
    check_images("images", images, model)
    if hashes and len(hashes) != len(images):
        raise InputError(f"hashes: expected one per image ({len(images)}), got {len(hashes)}")
    return LabelledImages(images=images, labels=checked_classes("labels", labels, len(images), model), hashes=hashes)


def joined(parts: Sequence[L]) -> L:
    """Return the images of all parts, in order.

    Raises:
        InputError: there are none.
    """
    if not sum(map(len, parts)):
        raise InputError("images: expected at least one, got none")
    values = {field.name: [getattr(part, field.name) for part in parts] for field in fields(parts[0])}
    hashes = sum(values.pop("hashes"), ())
    return replace(parts[0], hashes=hashes, **{name: torch.cat(of) for name, of in values.items()})


def twins(model: ViT, clean: LabelledImages, attacked: LabelledImages, targets: Indices | None = None) -> ImagePairs:
    """Return clean images as the pairs' clean images, and the same images attacked as their corrupted ones.

    Args:
        model: the model.
        clean: the unattacked images.
        attacked: the same images, attacked.
        targets: the class of each image that the attack turns it into; none by default.

    Raises:
        InputError: the images are not the same.
    """
    if clean.hashes != attacked.hashes:
        raise InputError("expected the same images unattacked and attacked, in the same order")
    return ImagePairs.of(model, clean.images, attacked.images, clean.labels, targets, hashes=clean.hashes)
