"""Accuracy per class and relation of the cue, with Wilson's intervals, and the worst of these groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from ..results import Exportable
from .proportion import Proportion

if TYPE_CHECKING:
    import pandas as pd

Relation = Literal["no cue", "agreeing", "misleading"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
"""How the cue of an image relates to its class."""

NO_CUE = -1
"""Class of the cue of an image that bears none."""


def cue_relations(labels: Int[np.ndarray, "image"], cues: Int[np.ndarray, "image"]) -> np.ndarray:
    """Return how the cue of each image relates to its class: names of `RELATIONS`.

    Args:
        labels: index of the true class.
        cues: index of the class that the cue goes with; `NO_CUE` for no cue.

    Examples:
        >>> cue_relations(np.array([3, 3, 3]), np.array([-1, 3, 5])).tolist()
        ['no cue', 'agreeing', 'misleading']
    """
    return np.where(cues == NO_CUE, "no cue", np.where(cues == labels, "agreeing", "misleading"))


@dataclass(frozen=True, eq=False)
class GroupAccuracy(Exportable):
    """Hits and images per relation of the cue and class. A group is the images of a class with one relation.

    Attributes:
        classes: indices of the classes.
        hits: number of correctly classified images; a mean if hits are means over draws.
        images: number of images.
    """

    classes: Int[np.ndarray, "class"]
    hits: Float[np.ndarray, "relation class"]
    images: Int[np.ndarray, "relation class"]

    @classmethod
    def of(
        cls,
        labels: Int[np.ndarray, "image"],
        cues: Int[np.ndarray, "image"],
        hit: Bool[np.ndarray, "image"] | Float[np.ndarray, "image"],
    ) -> GroupAccuracy:
        """Count the images of each group and their hits.

        Args:
            labels: index of the true class.
            cues: index of the class that the cue goes with; `NO_CUE` for no cue.
            hit: whether each image is classified correctly, or in which share of the draws.
        """
        classes = np.unique(labels)
        related = cue_relations(labels, cues) == np.array(RELATIONS)[:, None]
        masks: Bool[np.ndarray, "relation class image"] = related[:, None] & (labels == classes[:, None])
        return cls(classes, (masks * hit.astype(np.float64)).sum(axis=2), masks.sum(axis=2))

    def related(self, relation: Relation) -> Proportion:
        """Return the accuracy on all images with this relation."""
        row = RELATIONS.index(relation)
        return Proportion(float(self.hits[row].sum()), int(self.images[row].sum()))

    @property
    def worst(self) -> Proportion:
        """The accuracy of the group with the lowest one; its interval is that of this group, not of a minimum."""
        return min(
            (Proportion(float(hits), int(n)) for hits, n in zip(self.hits.flat, self.images.flat, strict=True) if n),
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
                group = Proportion(float(self.hits[row, column]), int(n))
                rows.append((RELATIONS[row], int(self.classes[column]), int(n), group.value, *group.interval))
        return pd.DataFrame(rows, columns=["relation", "class_index", "images", "accuracy", "low", "high"])

    def __repr__(self) -> str:
        return f"GroupAccuracy({'; '.join(f'{name} {of} %' for name, of in self.summary.items())})"
