# pyright: reportAttributeAccessIssue=false
"""Correction of a cue, on a model whose cue runs through one known edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.circuits import Proportion
from circuitstore.defence import CuedImages, GroupCorrection, Search, correct_groups, retrained_heads
from circuitstore.errors import InputError
from circuitstore.models import ViT

from .planted_cue import cue_images, cue_model

SEARCH = Search(sizes=(2,), strengths=(1.0,))


@pytest.fixture(scope="module")
def model() -> ViT:
    return cue_model()


@pytest.fixture(scope="module")
def parts(model: ViT) -> tuple[CuedImages, ...]:
    return tuple(cue_images(model, per_group, seed) for per_group, seed in ((4, 0), (3, 1), (5, 2)))


@pytest.fixture(scope="module")
def corrected(model: ViT, parts: tuple[CuedImages, ...]) -> GroupCorrection:
    return correct_groups(model, *parts, search=SEARCH)


def test_steering_the_cue_s_edges_restores_every_group(corrected: GroupCorrection) -> None:
    """The unchanged model reads every misleading cue; the digit is readable on all images."""
    none, edges, senders = (corrected.row(method).report for method in ("none", "edges", "senders"))
    assert none["misleading"] == Proportion(0, 10) and none["no cue"] == none["agreeing"] == Proportion(10, 10)
    assert edges["misleading"] == senders["misleading"] == Proportion(10, 10) and edges["worst group"].value == 1
    assert set(corrected.row("edges").edit.edges) == {"input->m0", "m0->logits"}


def test_the_directions_of_the_cues_are_opposite(corrected: GroupCorrection) -> None:
    """The output of m0 is the cue in one dimension: +1 for one cue and −1 for the other."""
    left, right = corrected.contrast.directions["by cue"]
    m0 = left.graph.senders.index("m0")
    expected = np.array([0, 0, 1, 0])
    assert np.allclose(left.vectors[m0], expected) and np.allclose(right.vectors[m0], -expected)
    assert np.allclose(left.coherence[m0], 1)


def test_a_random_edge_is_no_correction(corrected: GroupCorrection) -> None:
    assert corrected.row("random non-circuit edges").report["misleading"].value == 0


def test_the_mlp_that_carries_the_cue_is_found_and_the_last_layer_can_drop_it(corrected: GroupCorrection) -> None:
    """m0 at its mean over the reference images carries no cue; the last layer reads the shape in its own dimension."""
    for method in ("heads and MLPs", "last layer"):
        assert corrected.row(method).report["misleading"].value == 1


def test_the_table_has_every_method_and_group(corrected: GroupCorrection) -> None:
    frame = corrected.to_pandas()
    assert len(frame) == len(corrected.rows) * 4
    assert frame[(frame.method == "none") & (frame.group == "misleading")]["accuracy"].tolist() == [0.0]
    assert "0.0 [0.0, " in str(corrected) and "100.0" in repr(corrected)
    with pytest.raises(InputError, match="method: expected one of none, edges"):
        corrected.row("edge")


def test_two_groups_take_the_agreeing_images_as_reference(model: ViT, parts: tuple[CuedImages, ...]) -> None:
    """Without images without a cue, the direction of a cue goes from one cue to the other."""
    two = [part[np.flatnonzero(part.relations != "no cue")] for part in parts]
    found = correct_groups(model, *two, search=SEARCH)
    assert "no discovery image is without a cue" in found.notes[0]
    assert list(found.row("none").report) == ["agreeing", "misleading", "worst group"]
    left, right = found.contrast.directions["by cue"]
    m0 = left.graph.senders.index("m0")
    assert np.allclose(left.vectors[m0], [0, 0, 1, 0]) and np.allclose(right.vectors[m0], [0, 0, -1, 0])


def test_nothing_is_chosen_that_costs_more_than_the_maximum_loss(model: ViT, parts: tuple[CuedImages, ...]) -> None:
    """Where no correction helps, the unchanged model is chosen: selection images are all read well."""
    discovery, selection, report = parts
    mixed = selection[[*range(len(selection) // 2)]]
    labels = model.logits(mixed.images).argmax(dim=1)
    read = CuedImages(images=mixed.images, labels=labels, cues=1 - labels)
    found = correct_groups(model, discovery, read, report, search=SEARCH)
    assert all(row.edit is None for row in found.rows)


def test_images_without_a_misleading_cue_are_refused(model: ViT, parts: tuple[CuedImages, ...]) -> None:
    discovery, selection, report = parts
    with pytest.raises(InputError, match="selection: expected some images whose cue goes with another class"):
        correct_groups(model, discovery, selection.related("no cue"), report)
    one_class = discovery[np.flatnonzero((discovery.relations == "misleading") | (discovery.labels.numpy() == 0))]
    with pytest.raises(InputError, match="4 images of class 1 to correct, but no reference image"):
        correct_groups(model, one_class, selection, report)


def test_a_retrained_layer_never_predicts_a_class_without_images(model: ViT, parts: tuple[CuedImages, ...]) -> None:
    images = parts[0]
    for edit in retrained_heads(model, images.images, images.labels, penalties=[0.1, 10.0]):
        with edit.applied(model):
            logits = model.logits(images.images)
        assert logits.shape == (len(images), 3) and (logits.argmax(dim=1) < 2).all()
    with pytest.raises(InputError, match="at least two classes, got 1"):
        retrained_heads(model, images.images[:3], torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sizes": (0,)}, "sizes: expected positive"),
        ({"strengths": ()}, "strengths: expected positive"),
        ({"max_loss": -0.1}, "max_loss: expected a share"),
    ],
)
def test_a_search_out_of_range_is_refused(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Search(**values)
