"""Images with classes, what a model answers to them, and the retrained last layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from circuitstore.defence import LabelledImages, retrained_heads
from circuitstore.defence.answers import answers
from circuitstore.defence.labelled import joined, twins
from circuitstore.errors import InputError
from circuitstore.evaluation import Execution
from circuitstore.evaluation.interventions import NewHead
from circuitstore.images import ImageSource
from circuitstore.models import ViT


def labelled(source: ImageSource, model: ViT, *names: str, count: int = 5) -> LabelledImages:
    """Return a few images of each class."""
    classes = [source.class_named(name) for name in names or ("three", "eight")]
    refs = [(ref, cls.class_index) for cls in classes for ref in source.candidates(cls)[:count]]
    images = model.preprocess.normalise(np.stack([source.view(ref) for ref, _ in refs]))
    return LabelledImages.of(model, images, [index for _, index in refs], hashes=[ref.hash for ref, _ in refs])


def retrained(model: ViT, images: LabelledImages, *penalties: float) -> list[NewHead]:
    return list(retrained_heads(model, images.images, images.labels, penalties=penalties))


@pytest.mark.parametrize("names", [("three", "eight"), ("three", "five", "eight")])
def test_a_new_last_layer_is_logistic_regression_on_pooled_tokens(
    names: tuple[str, ...], digits: ImageSource, digits_model: ViT
) -> None:
    images = labelled(digits, digits_model, *names)
    edit, other = retrained(digits_model, images, 1.0, 0.1)
    pooled = digits_model.pooled(images.images).double().cpu().numpy()
    expected = pooled @ edit.head.weight.double().numpy().T + edit.head.bias.numpy()
    found = answers(digits_model, edit, images.images, Execution(batch_size=3))
    assert np.abs(found.logits - expected).max() < 1e-3 * np.abs(expected).max() and found.seconds > 0
    labels = images.labels.numpy()
    assert set(found.predicted) <= set(labels) and (found.predicted == labels).mean() > 0.9
    assert edit.intervention != other.intervention


def test_a_new_last_layer_leaves_the_model_as_it_was(digits: ImageSource, digits_model: ViT) -> None:
    images = labelled(digits, digits_model)
    before = answers(digits_model, None, images.images).logits
    [edit] = retrained(digits_model, images, 1.0)
    with pytest.raises(RuntimeError, match="stop"), edit.applied(digits_model):
        raise RuntimeError("stop")
    assert np.array_equal(answers(digits_model, None, images.images).logits, before)
    with torch.no_grad():
        wrapped = edit.wrapped(digits_model)(images.images).double().numpy()
    assert np.abs(wrapped - answers(digits_model, edit, images.images).logits).max() < 1e-4


def test_a_last_layer_needs_two_classes(digits: ImageSource, digits_model: ViT) -> None:
    with pytest.raises(InputError, match="at least two classes, got 1"):
        retrained(digits_model, labelled(digits, digits_model, "three"), 1.0)


def test_images_are_joined_and_cut(digits: ImageSource, digits_model: ViT) -> None:
    threes, eights = (labelled(digits, digits_model, name) for name in ("three", "eight"))
    both = joined([threes, eights])
    assert len(both) == 10 and both.hashes == threes.hashes + eights.hashes
    assert both.of_class(8).hashes == eights.hashes and both[[9, 0]].hashes == (both.hashes[9], both.hashes[0])
    few = both.spread(4)
    assert few.labels.tolist() == [3, 3, 8, 8] and few.hashes[0] == both.hashes[0] and few.hashes[-1] == both.hashes[-1]
    assert both.spread(99).hashes == both.hashes
    for nothing in ([], [threes.of_class(8)]):
        with pytest.raises(InputError, match="images: expected at least one, got none"):
            joined(nothing)


def test_twins_are_the_same_images(digits: ImageSource, digits_model: ViT) -> None:
    threes, eights = (labelled(digits, digits_model, name) for name in ("three", "eight"))
    covered = replace(threes, images=threes.images.clone().fill_(1.0))
    pairs = twins(digits_model, threes, covered)
    assert pairs.hashes == threes.hashes and pairs.labels.tolist() == threes.labels.tolist()
    assert torch.equal(pairs.corrupted, covered.images)
    with pytest.raises(InputError, match="the same images"):
        twins(digits_model, threes, eights)
