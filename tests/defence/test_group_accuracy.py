"""Cues of images, and accuracies of groups."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import GroupAccuracy, Proportion
from circuitstore.defence import CuedImages
from circuitstore.errors import InputError
from circuitstore.models import ViT

from .planted_cue import CUES, cue_images, cue_model


@pytest.fixture(scope="module")
def model() -> ViT:
    return cue_model()


def test_the_relation_of_a_cue_is_that_of_its_class(model: ViT) -> None:
    cued = cue_images(model, 2, 0)
    names = {(0, -1): "no cue", (0, 0): "agreeing", (0, 1): "misleading", (1, 0): "misleading", (1, 1): "agreeing"}
    names[1, -1] = "no cue"
    pairs = zip(cued.labels.tolist(), cued.cues.tolist(), strict=True)
    assert cued.relations.tolist() == [names[pair] for pair in pairs]
    misleading = cued.related("misleading")
    assert len(misleading) == 4 and (misleading.cues != misleading.labels).all() and (misleading.cues >= 0).all()
    assert repr(cued) == "CuedImages(12 images of 2 classes: 4 no cue, 4 agreeing, 4 misleading)"


@pytest.mark.parametrize(
    ("groups", "cues", "message"),
    [
        (["none"] * 11, CUES, "groups: expected one per image .12., got 11"),
        (["none"] * 12, {}, "cues: expected the class that each group's cue goes with"),
        (["left bar"] * 12, {"left bra": 0}, "cues: unknown group 'left bra'; did you mean 'left bar'"),
        (["left bar"] * 12, {"left bar": 3}, "cues: .* has classes 0 to 2, got 3"),
    ],
)
def test_wrong_groups_are_named(model: ViT, groups: list[str], cues: dict[str, int], message: str) -> None:
    cued = cue_images(model, 2, 0)
    with pytest.raises(InputError, match=message):
        CuedImages.in_groups(model, cued.images, cued.labels, groups, cues)


def test_accuracies_are_counted_per_group(model: ViT) -> None:
    """All images are predicted as class 0: class 1 is always wrong."""
    cued = cue_images(model, 5, 0)
    labels = cued.labels.numpy()
    accuracy = GroupAccuracy.of(labels, cued.cues.numpy(), labels == 0)
    assert accuracy.hits.tolist() == [[5, 0]] * 3 and accuracy.images.tolist() == [[5, 5]] * 3
    assert accuracy.related("misleading") == Proportion(5, 10)
    assert accuracy.worst == Proportion(0, 5) and accuracy.mean == 0.5
    frame = accuracy.to_pandas()
    assert len(frame) == 6 and (frame["low"] <= frame["accuracy"]).all() and (frame["accuracy"] <= frame["high"]).all()


def test_groups_without_images_are_left_out(model: ViT) -> None:
    cued = cue_images(model, 3, 0).related("misleading")
    accuracy = GroupAccuracy.of(cued.labels.numpy(), cued.cues.numpy(), np.ones(len(cued), bool))
    assert list(accuracy.summary) == ["misleading", "worst group"] and len(accuracy.to_pandas()) == 2
    assert accuracy.worst == Proportion(3, 3) and accuracy.mean == 1.0
