"""Accuracy per class and relation of the cue, with Wilson's intervals, and the worst of these groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from ..circuits import Proportion
from ..results import Exportable
from .cued_images import RELATIONS, CuedImages, Relation

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class GroupAccuracy(Exportable):
    """Hits and images per relation of the cue and class. A group is the images of a class with one relation.

    Attributes:
        classes: indices of the classes.
        hits: number of correctly classified images.
        images: number of images.
    """

    classes: Int[np.ndarray, "class"]
    hits: Int[np.ndarray, "relation class"]
    images: Int[np.ndarray, "relation class"]

    @classmethod
    def of(cls, images: CuedImages, predicted: Int[np.ndarray, "image"]) -> GroupAccuracy:
        """Count the images of each group, and those that are predicted as their class."""
        labels, relations = images.labels.cpu().numpy(), images.relations
        classes = np.unique(labels)
        masks: Bool[np.ndarray, "relation class image"] = (relations == np.array(RELATIONS)[:, None])[:, None] & (
            labels == classes[:, None]
        )
        return cls(classes, (masks & (predicted == labels)).sum(axis=2), masks.sum(axis=2))

    def related(self, relation: Relation) -> Proportion:
        """Return the accuracy on all images with this relation."""
        row = RELATIONS.index(relation)
        return Proportion(int(self.hits[row].sum()), int(self.images[row].sum()))

    @property
    def worst(self) -> Proportion:
        """The accuracy of the group with the lowest one; its interval is that of this group, not of a minimum."""
        return min(
            (Proportion(int(hits), int(n)) for hits, n in zip(self.hits.flat, self.images.flat, strict=True) if n),
            key=lambda group: (group.value, -group.images),
        )

    @property
    def mean(self) -> float:
        """The mean accuracy of all groups that have images."""
        found = self.images > 0
        return float((self.hits[found] / self.images[found]).mean())

    @property
    def summary(self) -> Mapping[str, Proportion]:
        """The accuracy per relation that has images, and of the worst group."""
        related = {relation: self.related(relation) for relation in RELATIONS}
        return {**{name: of for name, of in related.items() if of.images}, "worst group": self.worst}

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `relation, class_index, images, accuracy, low, high`; one row per group that has images."""
        import pandas as pd

        rows = []
        for (row, column), n in np.ndenumerate(self.images):
            if n:
                group = Proportion(int(self.hits[row, column]), int(n))
                rows.append((RELATIONS[row], int(self.classes[column]), int(n), group.value, *group.interval))
        return pd.DataFrame(rows, columns=["relation", "class_index", "images", "accuracy", "low", "high"])

    def __repr__(self) -> str:
        return f"GroupAccuracy({'; '.join(f'{name} {of} %' for name, of in self.summary.items())})"
