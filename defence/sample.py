"""Images of several classes under one condition, and what a model answers to them with or without an edit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from ..errors import InputError
from ..evaluation import ImagePairs
from ..evaluation.interventions import Edit
from ..models import ViT


@dataclass(frozen=True, eq=False)
class Sample:
    """Images as a model sees them, before normalisation, with their classes.

    Attributes:
        views: the images, 8 bits.
        labels: index of the true class.
        targets: index of the class that the attack aims at; −1 without one.
        hashes: SHA-256 of the content of each image, before the attack.
    """

    views: UInt8[np.ndarray, "image height width 3"]
    labels: Int[np.ndarray, "image"]
    targets: Int[np.ndarray, "image"]
    hashes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.views)

    @classmethod
    def joined(cls, parts: Sequence[Sample]) -> Sample:
        """Return the images of all parts, in order.

        Raises:
            InputError: there are none.
        """
        if not sum(map(len, parts)):
            raise InputError("expected at least one image, got none")
        arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("views", "labels", "targets")}
        return cls(**arrays, hashes=tuple(hash_ for p in parts for hash_ in p.hashes))

    def where(self, kept: Bool[np.ndarray, "image"]) -> Sample:
        """Return the images that are kept."""
        hashes = tuple(hash_ for hash_, keep in zip(self.hashes, kept, strict=True) if keep)
        return replace(
            self, views=self.views[kept], labels=self.labels[kept], targets=self.targets[kept], hashes=hashes
        )

    def first(self, count: int) -> Sample:
        """Return at most `count` images, spread evenly over all."""
        kept = np.zeros(len(self), bool)
        kept[np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))] = True
        return self.where(kept)


def twins(model: ViT, clean: Sample, attacked: Sample, targets: Int[np.ndarray, "image"] | None = None) -> ImagePairs:
    """Return clean images as the pairs' clean images, and the same images attacked as their corrupted ones.

    Args:
        model: the model that normalises the images.
        clean: the unattacked images.
        attacked: the same images, attacked.
        targets: the class of each image that the attack turns it into; none by default.

    Raises:
        InputError: the images are not the same.
    """
    if clean.hashes != attacked.hashes:
        raise InputError("expected the same images unattacked and attacked, in the same order")
    plain, changed = (model.preprocess.normalise(part.views) for part in (clean, attacked))
    return ImagePairs.of(model, plain, changed, clean.labels, targets, hashes=clean.hashes)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers to a sample.

    Attributes:
        logits: the logits, float64.
        seconds: seconds per image.
    """

    logits: Float[np.ndarray, "image class"]
    seconds: float

    @property
    def predicted(self) -> Int[np.ndarray, "image"]:
        """Index of the top class."""
        return self.logits.argmax(axis=1)

    def hits(self, sample: Sample) -> Bool[np.ndarray, "image"]:
        """Whether the top class is the true one."""
        return self.predicted == sample.labels


def answers(model: ViT, edit: Edit | None, sample: Sample, batch_size: int = 64) -> Answers:
    """Return what a model answers to a sample, with an edit or, without one, as it is."""
    began, parts = time.perf_counter(), []
    with edit.applied(model) if edit is not None else nullcontext():
        for first in range(0, len(sample), batch_size):
            views = sample.views[first : first + batch_size]
            parts.append(model.logits(model.preprocess.normalise(views)).double().cpu())
    logits = torch.cat(parts).numpy()
    return Answers(logits, (time.perf_counter() - began) / len(sample))
