"""Pairs of clean and corrupted images with their classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import InputError, warn
from ..models import ConstantOutputs, ViT, runs_model
from .tokens import Masks, TokenGroups

P = TypeVar("P", bound="ImagePairs")
Classes = Int[Tensor, "image"]
Indices = Sequence[int] | np.ndarray | Tensor

FAR = 20.0
"""Largest plausible magnitude of a normalised pixel, unless the model's own normalisation gives larger ones."""


@dataclass(frozen=True, eq=False)
class ImagePairs:
    """Clean images, what they are contrasted with, and their classes. Created by `ImagePairs.of`.

    Attributes:
        clean: normalised images.
        corruption: a corrupted image for each clean image, normalised; or a constant output of each sender.
        labels: index of each image's true class.
        targets: index of the class that a metric such as `logit-diff` contrasts with the true class; None if there is
            no target class.
        hashes: SHA-256 (hex) of each image's content; empty if the images have no files.
        token_groups: sets of tokens over which scores are also summed separately; None if there are none.
    """

    clean: Float[Tensor, "image channel height width"]
    corruption: Float[Tensor, "image channel height width"] | ConstantOutputs
    labels: Classes
    targets: Classes | None = None
    hashes: tuple[str, ...] = ()
    token_groups: TokenGroups | None = None

    @classmethod
    def of(
        cls,
        model: ViT,
        clean: Tensor,
        corrupted: Tensor | ConstantOutputs,
        labels: Indices,
        targets: Indices | None = None,
        *,
        hashes: Sequence[str] = (),
        token_groups: Masks | None = None,
    ) -> ImagePairs:
        """Check tensors against a model and create pairs.

        Warns if pixels do not look normalised, and if some pairs are equal.

        Args:
            model: the model that the images are normalised for.
            clean: normalised images `[image, channel, height, width]`.
            corrupted: the corrupted image of each clean image; or the outputs that replace those of the senders, see
                `zero_outputs` and `mean_outputs`.
            labels: index of the true class, one per image.
            targets: index of the target class, one per image, for metrics that need one.
            hashes: SHA-256 (hex) of each image's content.
            token_groups: boolean masks `[token]` or `[image, token]` by name, see `token_groups`. Methods with scores
                per token also sum them over each group, in the same passes.

        Raises:
            InputError: images of another size than the model's, integer, NaN or infinite pixels (the message names the
                images), pairs that are all equal, not one label or target per image, classes that the model lacks, or
                token groups or outputs of senders that do not fit.

        Examples:
            >>> pairs = ImagePairs.of(model, clean, corrupted, labels=[3] * len(clean))
            >>> scores = score_edges(model, pairs)
        """
        return _checked(model, clean, corrupted, labels, targets, tuple(hashes), token_groups)

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def has_images(self) -> bool:
        """Whether there are corrupted images; otherwise senders are replaced by constants."""
        return isinstance(self.corruption, Tensor)

    @property
    def corrupted(self) -> Float[Tensor, "image channel height width"]:
        """The corrupted images.

        Raises:
            InputError: there are none, because senders are replaced by constants.
        """
        if isinstance(self.corruption, ConstantOutputs):
            raise InputError(
                "corrupted: expected images, but the corruption replaces every sender's output by a constant and has "
                "no image; use direction = 'noising' and a method without a path between images, or a corruption of "
                "images"
            )
        return self.corruption

    def __getitem__(self: P, images: slice) -> P:
        """Return a slice of the pairs."""
        return replace(self, **{field.name: _part(getattr(self, field.name), images) for field in fields(self)})

    def batches(self: P, size: int) -> Iterator[P]:
        """Yield consecutive batches of at most `size` pairs."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def token_weights(
        self, stream: Float[Tensor, "image token d_model"], dtype: torch.dtype
    ) -> Float[Tensor, "group image token"]:
        """Return a mask of ones and zeros per sum over tokens: first all tokens, then each group."""
        everything = torch.ones(1, *stream.shape[:2], dtype=torch.bool)
        masks = everything if self.token_groups is None else torch.cat([everything, self.token_groups.masks])
        return masks.to(stream.device, dtype)

    def check_fit(self, model: ViT) -> None:
        """Check that the pairs fit a model.

        Raises:
            InputError: images of another size, or classes that the model lacks.
        """
        _check_size("clean", self.clean, model)
        if isinstance(self.corruption, ConstantOutputs):
            self.corruption.check_fit(model)
        else:
            _check_size("corrupted", self.corruption, model)
        for name, classes in (("labels", self.labels), ("targets", self.targets)):
            if classes is not None:
                _check_range(name, classes, model)

    @property
    def digest(self) -> str:
        """Hash of the images and the classes."""
        check = sha256()
        for part in (self.clean, self.corruption, self.labels, self.targets):
            if isinstance(part, Tensor):
                check.update(part.detach().cpu().contiguous().numpy().tobytes())
            else:
                check.update(b"-" if part is None else part.digest.encode())
        return check.hexdigest()

    def __repr__(self) -> str:
        groups = f", token groups {', '.join(self.token_groups.names)}" if self.token_groups else ""
        classes = ", ".join(map(str, self.labels.unique().tolist()[:5]))
        return f"{type(self).__name__}({len(self)} pairs, true classes {classes}{groups})"


def _part(value: object, images: slice) -> object:
    """Return the slice of an attribute that has one entry per image; other attributes are unchanged."""
    return value[images] if isinstance(value, Tensor | TokenGroups | tuple) else value


@runs_model
def _checked(
    model: ViT,
    clean: Tensor,
    corrupted: Tensor | ConstantOutputs,
    labels: Indices,
    targets: Indices | None,
    hashes: tuple[str, ...],
    token_groups: Masks | None,
) -> ImagePairs:
    check_images("clean", clean, model)
    if isinstance(corrupted, ConstantOutputs):
        corrupted.check_fit(model)
    else:
        check_images("corrupted", corrupted, model)
        _check_contrast(clean, corrupted)
    if hashes and len(hashes) != len(clean):
        raise InputError(f"hashes: expected one per image ({len(clean)}), got {len(hashes)}")
    return ImagePairs(
        clean,
        corrupted,
        checked_classes("labels", labels, len(clean), model),
        None if targets is None else checked_classes("targets", targets, len(clean), model),
        hashes,
        None if token_groups is None else TokenGroups.checked(model, token_groups, len(clean)),
    )


def _check_size(name: str, images: object, model: ViT) -> None:
    size = (3, *model.image_size)
    if not isinstance(images, Tensor) or images.shape[1:] != size:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        expected = f"[image, {', '.join(map(str, size))}]"
        raise InputError(f"{name}: expected a tensor {expected} for {model.name}, got {shape}")


def check_images(name: str, images: Tensor, model: ViT) -> None:
    """Check that images fit a model; warns if their pixels do not look normalised.

    Raises:
        InputError: no images, images of another size, or integer, NaN or infinite pixels.
    """
    _check_size(name, images, model)
    if not images.is_floating_point():
        raise InputError(
            f"{name}: expected normalised pixels in floating point, got {images.dtype}; "
            "create them with model.preprocess.normalise(views) from 8-bit views [image, height, width, 3]"
        )
    if len(images) == 0:
        raise InputError(f"{name}: expected at least one image, got none")
    bad = where(~torch.isfinite(images).flatten(1).all(dim=1))
    if bad:
        raise InputError(f"{name}: NaN or infinite pixels in image {shown(bad)} (counted from 0); leave them out")
    largest, limit = float(images.abs().max()), _largest_normalised(model)
    if largest > limit:
        warn(
            f"{name}: pixels up to {largest:.4g} in magnitude, but normalised pixels of this model lie within "
            f"{limit:.4g}; create them with model.preprocess.normalise from 8-bit views"
        )


def _largest_normalised(model: ViT) -> float:
    """Return the largest magnitude that the model's normalisation gives, at least `FAR`."""
    ends = zip(model.preprocess.mean, model.preprocess.std, strict=True)
    return max(FAR, *(max(mean, 1 - mean) / std for mean, std in ends))


def _check_contrast(clean: Tensor, corrupted: Tensor) -> None:
    if len(clean) != len(corrupted):
        raise InputError(f"corrupted: expected one image per clean image ({len(clean)}), got {len(corrupted)}")
    equal = where((clean == corrupted.to(clean)).flatten(1).all(dim=1))
    if len(equal) == len(clean):
        raise InputError(
            "corrupted: every image equals its clean image, so there is no contrast and every score would be 0; pass "
            "other corrupted images"
        )
    if equal:
        warn(
            f"corrupted: {len(equal)} of {len(clean)} images equal their clean images: {shown(equal)} (counted from "
            "0); such a pair has no contrast and pulls every mean towards 0"
        )


def where(selected: Bool[Tensor, "image"]) -> list[int]:
    """Return the positions of the selected images."""
    return torch.nonzero(selected).flatten().tolist()


def shown(positions: list[int]) -> str:
    """Return the first ten positions as text."""
    return ", ".join(map(str, positions[:10])) + (", …" if len(positions) > 10 else "")


def checked_classes(name: str, values: Indices, count: int, model: ViT) -> Classes:
    try:
        classes = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        hint = " (model.labels.index(name) returns the index of a name)" if model.labels else ""
        raise InputError(f"{name}: expected {count} class indices, one per image{hint}, got {values!r}") from error
    if classes.shape != (count,) or classes.is_floating_point() or classes.dtype == torch.bool:
        raise InputError(
            f"{name}: expected {count} class indices, one per image, "
            f"got {classes.dtype} of shape {tuple(classes.shape)}"
        )
    classes = classes.long().clone()  # a tensor created in inference mode would break gradients
    _check_range(name, classes, model)
    return classes


def _check_range(name: str, classes: Classes, model: ViT) -> None:
    wrong = classes[(classes < 0) | (classes >= model.n_classes)].tolist()
    if wrong:
        raise InputError(f"{name}: {model.name} has classes 0 to {model.n_classes - 1}, got {wrong[0]}")
