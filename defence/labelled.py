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
from ..evaluation.pairs import Indices, check_images, checked_classes
from ..models import ViT, runs_model

L = TypeVar("L", bound="LabelledImages")


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledImages:
    """Images with their classes. Created by `LabelledImages.of`.

    Attributes:
        images: normalised images.
        labels: index of each image's true class.
        hashes: SHA-256 (hex) of each image's content; empty if the images have no files.
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

    def __getitem__(self: L, positions: Sequence[int] | np.ndarray) -> L:
        """Return the images at these positions."""
        at = torch.as_tensor(np.asarray(positions, int))
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: _at(of, at) for name, of in values.items()})

    def of_class(self: L, label: int) -> L:
        """Return the images of a class."""
        return self[np.flatnonzero(self.labels.cpu().numpy() == label)]

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
