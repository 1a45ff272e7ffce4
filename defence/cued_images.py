"""Images whose groups say which cue they bear: something that goes with a class but is not what makes it.

An image bears no cue, the cue of its own class, or the cue of another class, which misleads. The last group is
rare in training, so accuracy over all images hides what a model does on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..circuits import NO_CUE, RELATIONS, Relation, cue_relations
from ..errors import InputError, check_known
from ..evaluation.pairs import Indices, checked_classes
from ..models import ViT
from .labelled import LabelledImages


@dataclass(frozen=True, eq=False, kw_only=True)
class CuedImages(LabelledImages):
    """Images with their classes and cues. Created by `CuedImages.in_groups`.

    Attributes:
        cues: index of the class that each image's cue goes with; -1 for no cue.
    """

    cues: Int[Tensor, "image"]

    @classmethod
    def in_groups(
        cls,
        model: ViT,
        images: Tensor,
        labels: Indices,
        groups: Sequence[str],
        cues: Mapping[str, int],
        *,
        hashes: Sequence[str] = (),
    ) -> CuedImages:
        """Check images against a model, and read their cues from their groups.

        Args:
            model: the model that the images are normalised for.
            images: normalised images `[image, channel, height, width]`.
            labels: index of the true class, one per image.
            groups: name of the group, one per image.
            cues: index of the class that a group's cue goes with, by the name of the group; images of other groups
                bear no cue.
            hashes: SHA-256 (hex) of each image's content.

        Raises:
            InputError: images or labels that do not fit the model, not one group or hash per image, a cue whose group
                has no image, or a cue of a class that the model lacks.

        Examples:
            >>> names = ["none", "red", "blue", "red"]
            >>> cued = CuedImages.in_groups(model, pairs.clean[:4], [3, 3, 3, 0], names, {"red": 0, "blue": 3})
            >>> cued.relations.tolist(), len(cued.related("misleading"))
            (['no cue', 'misleading', 'agreeing', 'agreeing'], 1)
        """
        return _in_groups(model, LabelledImages.of(model, images, labels, hashes=hashes), tuple(groups), cues)

    @property
    def relations(self) -> np.ndarray:
        """How the cue of each image relates to its class: names of `RELATIONS`."""
        return cue_relations(self.labels.cpu().numpy(), self.cues.cpu().numpy())

    def related(self, relation: Relation) -> CuedImages:
        """Return the images whose cue relates to their class in this way."""
        return self[self.relations == relation]

    def __repr__(self) -> str:
        relations = self.relations.tolist()
        counts = ", ".join(f"{relations.count(name)} {name}" for name in RELATIONS)
        return f"CuedImages({len(self)} images of {len(self.labels.unique())} classes: {counts})"


def _in_groups(model: ViT, images: LabelledImages, groups: tuple[str, ...], cues: Mapping[str, int]) -> CuedImages:
    if len(groups) != len(images):
        raise InputError(f"groups: expected one per image ({len(images)}), got {len(groups)}")
    if not cues:
        raise InputError(
            "cues: expected the class that each group's cue goes with, by the name of the group, got none; for example "
            "{'red': 0}"
        )
    for group in cues:
        check_known("group", group, sorted(set(groups)), where="cues")
    known = checked_classes("cues", list(cues.values()), len(cues), model)
    by_group = dict(zip(cues, known.tolist(), strict=True))
    of_images = torch.tensor([by_group.get(group, NO_CUE) for group in groups])
    return CuedImages(images=images.images, labels=images.labels, hashes=images.hashes, cues=of_images)
