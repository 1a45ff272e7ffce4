"""Choice on selection images, samples, and the retrained last layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from circuitstore.defence import retrained_heads
from circuitstore.defence.choosing import Candidate, best, choose
from circuitstore.defence.sample import Sample, answers, twins
from circuitstore.errors import InputError
from circuitstore.evaluation.interventions import NewHead, replace_head
from circuitstore.images import ImageSource
from circuitstore.models import LinearHead, ViT
from hypothesis import given
from hypothesis import strategies as st


def sample(source: ImageSource, names: tuple[str, ...] = ("three", "eight"), count: int = 5) -> Sample:
    """Return a few images of each class."""
    classes = [source.class_named(name) for name in names]
    refs = [(ref, cls.class_index) for cls in classes for ref in source.candidates(cls)[:count]]
    views, labels = np.stack([source.view(ref) for ref, _ in refs]), np.array([index for _, index in refs])
    return Sample(views, labels, np.full(len(refs), -1), tuple(ref.hash for ref, _ in refs))


def covered(images: Sample) -> Sample:
    """Return the images with their upper half in white."""
    views = images.views.copy()
    views[:, : views.shape[1] // 2] = 255
    return Sample(views, images.labels, images.targets, images.hashes)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1))
def test_the_best_candidate_is_allowed_and_the_first_of_the_best(rows: list[tuple[int, bool]]) -> None:
    sweep = pd.DataFrame(rows, columns=["attacked", "allowed"])
    place, allowed = best(sweep), [i for i, (_, ok) in enumerate(rows) if ok]
    if not allowed:
        assert place is None
    else:
        assert place == next(i for i in allowed if rows[i][0] == max(rows[j][0] for j in allowed))


def test_a_defence_that_costs_too_many_clean_images_is_not_chosen(digits: ImageSource, digits_model: ViT) -> None:
    """A last layer that always answers eight is right on attacked eights, and loses the unattacked threes."""
    eights, both = sample(digits, ("eight",)), sample(digits)
    weight, bias = np.zeros((10, digits_model.d_model), np.float32), np.eye(10, dtype=np.float32)[8]
    blind = replace_head(digits_model, LinearHead(torch.from_numpy(weight), torch.from_numpy(bias)))
    chosen = choose(digits_model, [Candidate(blind, {"penalty": 1.0})], both, eights, max_clean_loss=1)
    assert chosen.candidate.edit is None and chosen.candidate.settings == {"penalty": None}
    assert chosen.sweep["clean"].tolist() == [5] and chosen.sweep["allowed"].tolist() == [False]
    free = choose(digits_model, [Candidate(blind, {"penalty": 1.0})], both, eights, max_clean_loss=10)
    assert free.candidate.edit is blind and free.sweep["chosen"].tolist() == [True] and free.images == (10, 5)


def test_nothing_to_choose_from_is_an_error(digits: ImageSource, digits_model: ViT) -> None:
    few = sample(digits, count=1)
    with pytest.raises(InputError, match="candidates: expected at least one, got none"):
        choose(digits_model, [], few, few)
    with pytest.raises(InputError, match="max_clean_loss: expected a number of images of at least 0, got -1"):
        choose(digits_model, [Candidate(None)], few, few, max_clean_loss=-1)


def retrained(model: ViT, images: Sample, *penalties: float) -> list[NewHead]:
    views = model.preprocess.normalise(images.views)
    return list(retrained_heads(model, views, torch.from_numpy(images.labels), penalties=penalties))


@pytest.mark.parametrize("names", [("three", "eight"), ("three", "five", "eight")])
def test_a_new_last_layer_is_logistic_regression_on_pooled_tokens(
    names: tuple[str, ...], digits: ImageSource, digits_model: ViT
) -> None:
    images = sample(digits, names)
    edit, other = retrained(digits_model, images, 1.0, 0.1)
    pooled = digits_model.pooled(digits_model.preprocess.normalise(images.views)).double().cpu().numpy()
    expected = pooled @ edit.head.weight.double().numpy().T + edit.head.bias.numpy()
    found = answers(digits_model, edit, images, batch_size=3)
    assert np.abs(found.logits - expected).max() < 1e-3 * np.abs(expected).max()
    assert set(found.predicted) <= set(images.labels) and found.hits(images).mean() > 0.9
    assert edit.intervention != other.intervention


def test_a_new_last_layer_leaves_the_model_as_it_was(digits: ImageSource, digits_model: ViT) -> None:
    images = sample(digits)
    before = answers(digits_model, None, images).logits
    [edit] = retrained(digits_model, images, 1.0)
    with pytest.raises(RuntimeError, match="stop"), edit.applied(digits_model):
        raise RuntimeError("stop")
    assert np.array_equal(answers(digits_model, None, images).logits, before)
    normal = digits_model.preprocess.normalise(images.views)
    with torch.no_grad():
        wrapped = edit.wrapped(digits_model)(normal).double().numpy()
    assert np.abs(wrapped - answers(digits_model, edit, images).logits).max() < 1e-4


def test_a_last_layer_needs_two_classes(digits: ImageSource, digits_model: ViT) -> None:
    with pytest.raises(InputError, match="at least two classes, got 1"):
        retrained(digits_model, sample(digits, ("three",)), 1.0)


def test_samples_are_joined_and_cut(digits: ImageSource, digits_model: ViT) -> None:
    threes, eights = sample(digits, ("three",)), sample(digits, ("eight",))
    both = Sample.joined([threes, eights])
    assert len(both) == 10 and both.hashes == threes.hashes + eights.hashes
    few = both.first(4)
    assert few.labels.tolist() == [3, 3, 8, 8] and few.hashes[0] == both.hashes[0] and few.hashes[-1] == both.hashes[-1]
    assert both.first(99).hashes == both.hashes
    with pytest.raises(InputError, match="at least one image"):
        Sample.joined([])
    pairs = twins(digits_model, both, covered(both))
    assert pairs.hashes == both.hashes and pairs.labels.tolist() == both.labels.tolist()
    with pytest.raises(InputError, match="the same images"):
        twins(digits_model, threes, eights)
