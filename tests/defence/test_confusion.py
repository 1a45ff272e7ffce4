# pyright: reportAttributeAccessIssue=false
"""Correction of a confusion, on a model in which one known edge causes it."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import Proportion
from circuitstore.defence import (
    ConfusionCorrection,
    LabelledImages,
    Search,
    correct_confusion,
    most_confused,
)
from circuitstore.errors import InputError
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st

from .planted_cue import cue_images, cue_model


@pytest.fixture(scope="module")
def model() -> ViT:
    return cue_model()


def look_alikes(model: ViT, per_group: int, seed: int) -> LabelledImages:
    """Images of two classes without a cue, and images of class 0 with the cue of class 1, which are read as class 1."""
    cued = cue_images(model, per_group, seed)
    chosen = cued[np.flatnonzero((cued.cues == -1) | ((cued.labels == 0) & (cued.cues == 1)))]
    return LabelledImages.of(model, chosen.images, chosen.labels)


@pytest.fixture(scope="module")
def corrected(model: ViT) -> ConfusionCorrection:
    parts = (look_alikes(model, per_group, seed) for per_group, seed in ((4, 0), (3, 1), (5, 2)))
    return correct_confusion(model, *parts, search=Search(sizes=(2,), strengths=(1.0,)))


def test_the_confused_pair_is_corrected_on_the_edges_that_cause_it(corrected: ConfusionCorrection) -> None:
    assert corrected.confusion == (0, 1, 3)
    none, edges = (corrected.row(method) for method in ("none", "edges"))
    assert none.report["true class"] == Proportion(5, 10) and none.report["confused"] == Proportion(5, 10)
    assert none.report["other class"] == Proportion(5, 5) and none.report["all others"].images == 0
    assert edges.report["all"] == Proportion(15, 15) and edges.report["confused"].hits == 0
    assert set(edges.edit.edges) == {"input->m0", "m0->logits"}
    assert corrected.row("edges at the mean").report["all"] == Proportion(15, 15)


def test_a_random_edge_is_no_correction(corrected: ConfusionCorrection) -> None:
    assert corrected.row("random non-circuit edges").report == corrected.row("none").report
    assert "0 read as 1: true class 50.0" in repr(corrected)


def test_a_class_that_is_read_well_is_refused(model: ViT) -> None:
    confused, clean = look_alikes(model, 3, 0), look_alikes(model, 3, 1)
    clean = clean[np.flatnonzero(model.logits(clean.images).argmax(dim=1).numpy() == clean.labels.numpy())]
    with pytest.raises(InputError, match=r"at least 2 images of class 0 that are read as 1 .* got 0 and 3"):
        correct_confusion(model, clean, confused, confused)
    with pytest.raises(InputError, match="every image is read well"):
        correct_confusion(model, confused, clean, confused)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_most_confused_pair_has_the_most_images(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    if not wrong:
        with pytest.raises(InputError, match="every image is read well"):
            most_confused(labels, predicted)
        return
    found = most_confused(labels, predicted)
    assert found.images == wrong.count((found.true, found.read)) == max(map(wrong.count, wrong))
