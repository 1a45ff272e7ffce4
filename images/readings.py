"""What a model takes images for, unattacked and under conditions; every image is looked at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8

from ..circuits import ClassInfo, Condition
from ..models import ViT
from .batch import Batch
from .conditions import attack, is_attack, target_of
from .source import ImageRef, ImageSource

BATCH = 64
"""Images at a time."""


@dataclass(frozen=True)
class Tally:
    """How a model reads some images of one class, unattacked and under a condition.

    Attributes:
        tried: images.
        correct: of them, those whose top class unattacked is the true one.
        attacked_correct: likewise under the condition; None for natural images.
        succeeded: of the `correct` ones, those that the attack turns: into its target where it has one, else into
            any other class; None for natural images.
    """

    tried: int
    correct: int
    attacked_correct: int | None = None
    succeeded: int | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of `correct` images; None of no images."""
        return _share(self.correct, self.tried)

    @property
    def attacked_accuracy(self) -> float | None:
        return _share(self.attacked_correct, self.tried)

    @property
    def success(self) -> float | None:
        """Share of the correctly read images that the attack turns; None where there is no such image, or no attack."""
        return _share(self.succeeded, self.correct)


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None or not whole else part / whole


class Readings:
    """The classes that one model reads in the images of a source.

    Attributes:
        source: of the images.
        model: that reads them.
        seed: of everything random in attacks.
    """

    def __init__(self, source: ImageSource, model: ViT, seed: int = 0) -> None:
        self.source, self.model, self.seed = source, model, seed
        self._known: dict[tuple[str, Condition | None], int] = {}

    def of(
        self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None
    ) -> Int[np.ndarray, "image"]:
        """The class with the highest logit for each image of a class, unattacked or under a condition.

        Raises:
            BadImage: an image cannot be decoded.
            InputError: the attack cannot be carried out.
        """
        asked = condition if condition is not None and is_attack(condition) else None
        new = [ref for ref in dict.fromkeys(refs) if (ref.hash, asked) not in self._known]
        for start in range(0, len(new), BATCH):
            batch = Batch(self.source, cls, tuple(new[start : start + BATCH]), (), self.seed)
            read = predict(self.model, batch.views if asked is None else attack(asked, batch))
            self._known |= {(ref.hash, asked): int(index) for ref, index in zip(batch.refs, read, strict=True)}
        return np.array([self._known[ref.hash, asked] for ref in refs], int)

    def correct(self, cls: ClassInfo, refs: Sequence[ImageRef]) -> Bool[np.ndarray, "image"]:
        """Which images the model reads as their class, unattacked."""
        return self.of(cls, refs) == cls.class_index

    def turned(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition) -> Bool[np.ndarray, "image"]:
        """Which correctly read images an attack turns: into its target where it has one, else into any other class.

        None where its target is the class itself.
        """
        read, target = self.of(cls, refs, condition), target_of(condition, self.source, cls, self.seed)
        aimed = np.ones(len(refs), bool) if target is None else read == target
        return self.correct(cls, refs) & aimed & (read != cls.class_index)

    def tally(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None) -> Tally:
        """How the model reads images of a class."""
        tried, correct = len(refs), int(self.correct(cls, refs).sum())
        if condition is None or not is_attack(condition):
            return Tally(tried, correct)
        attacked = int((self.of(cls, refs, condition) == cls.class_index).sum())
        return Tally(tried, correct, attacked, int(self.turned(cls, refs, condition).sum()))

    def most_often(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None) -> str:
        """The three classes that are read most often, with their counts, for people."""
        counts = Counter(self.of(cls, refs, condition).tolist()).most_common(3)
        return ", ".join(f"{self.source.name_of(index)!r} ({count})" for index, count in counts)


def predict(model: ViT, views: UInt8[np.ndarray, "image height width 3"]) -> Int[np.ndarray, "image"]:
    """The class with the highest logit for each view."""
    return model.logits(model.preprocess.normalise(views)).argmax(dim=-1).cpu().numpy()
