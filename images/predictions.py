"""A model's predictions for images, unattacked and under conditions; every image is run once."""

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
"""Number of images per batch."""


@dataclass(frozen=True)
class Tally:
    """Counts of a model's predictions for images of one class, unattacked and under a condition.

    Attributes:
        tried: number of images.
        correct: number of images whose predicted class without attack is the true one.
        attacked_correct: the same under the condition; None for natural images.
        succeeded: number of `correct` images for which the attack succeeds, see `Predictions.successful`; None for
            natural images.
    """

    tried: int
    correct: int
    attacked_correct: int | None = None
    succeeded: int | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of `correct` images; None without images."""
        return _share(self.correct, self.tried)

    @property
    def attacked_accuracy(self) -> float | None:
        return _share(self.attacked_correct, self.tried)

    @property
    def success(self) -> float | None:
        """Share of correct images for which the attack succeeds; None without such images or without an attack."""
        return _share(self.succeeded, self.correct)


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None or not whole else part / whole


class Predictions:
    """The classes that one model predicts for the images of a source.

    Attributes:
        source: source of the images.
        model: the model.
        seed: seed of everything random in attacks.
    """

    def __init__(self, source: ImageSource, model: ViT, seed: int = 0) -> None:
        self.source, self.model, self.seed = source, model, seed
        self._known: dict[tuple[str, Condition | None], int] = {}

    def of(
        self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None
    ) -> Int[np.ndarray, "image"]:
        """Return the predicted class of each image, unattacked or under a condition.

        Raises:
            BadImage: an image cannot be decoded.
            InputError: the attack is not possible.
        """
        under = condition if condition is not None and is_attack(condition) else None
        new = [ref for ref in dict.fromkeys(refs) if (ref.hash, under) not in self._known]
        for start in range(0, len(new), BATCH):
            batch = Batch(self.source, cls, tuple(new[start : start + BATCH]), (), self.seed)
            predicted = predict(self.model, batch.views if under is None else attack(under, batch))
            self._known |= {(ref.hash, under): int(index) for ref, index in zip(batch.refs, predicted, strict=True)}
        return np.array([self._known[ref.hash, under] for ref in refs], int)

    def correct(self, cls: ClassInfo, refs: Sequence[ImageRef]) -> Bool[np.ndarray, "image"]:
        """Return which images the model classifies correctly, unattacked."""
        return self.of(cls, refs) == cls.class_index

    def successful(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition) -> Bool[np.ndarray, "image"]:
        """Return for which correctly classified images an attack succeeds.

        It succeeds if the model predicts its target, or any other class if it has no target. An attack whose target is
        the class itself never succeeds.
        """
        predicted, target = self.of(cls, refs, condition), target_of(condition, self.source, cls, self.seed)
        aimed = np.ones(len(refs), bool) if target is None else predicted == target
        return self.correct(cls, refs) & aimed & (predicted != cls.class_index)

    def tally(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None) -> Tally:
        """Count the model's predictions for images of a class."""
        tried, correct = len(refs), int(self.correct(cls, refs).sum())
        if condition is None or not is_attack(condition):
            return Tally(tried, correct)
        attacked = int((self.of(cls, refs, condition) == cls.class_index).sum())
        return Tally(tried, correct, attacked, int(self.successful(cls, refs, condition).sum()))

    def most_often(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None) -> str:
        """Return the three classes predicted most often, with their counts, as text."""
        counts = Counter(self.of(cls, refs, condition).tolist()).most_common(3)
        return ", ".join(f"{self.source.name_of(index)!r} ({count})" for index, count in counts)


def predict(model: ViT, views: UInt8[np.ndarray, "image height width 3"]) -> Int[np.ndarray, "image"]:
    """Return the class with the highest logit for each 8-bit view.

    Examples:
        >>> three = source.class_named("three")
        >>> predict(model, np.stack([source.view(ref) for ref in source.candidates(three)[:4]]))
        array([3, 3, 3, 3])
    """
    return model.logits(model.preprocess.normalise(views)).argmax(dim=-1).cpu().numpy()
