"""Requests for neuron paths that raise an error, and what the error says."""

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.evaluation import (
    Exhaustive,
    InfluencePattern,
    PathSearch,
    neuron_paths,
    score_paths,
)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (np.zeros((2, 1), int), r"paths: expected \[2 images, 3 layers, k\] or \[3 layers, k\], got shape \(2, 1\)"),
        (np.zeros((1, 3, 1), int), r"got shape \(1, 3, 1\)"),
        (np.zeros((3, 1)), "expected whole numbers .* got torch.float64"),
        (np.zeros((3, 0), int), "expected whole numbers"),
        (np.full((3, 1), 64), "each layer has neurons 0 to 63, got 64"),
        (np.full((3, 1), -1), "each layer has neurons 0 to 63, got -1"),
        (np.zeros((3, 2), int), "a neuron of a layer is named twice"),
    ],
)
def test_other_paths_are_refused(toy_vit, images, paths, message):
    model = toy_vit()
    with pytest.raises(InputError, match=message):
        score_paths(model, images(model, 2), [0, 1], paths)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PathSearch(score="sum"), "unknown score 'sum'"),
        (lambda: PathSearch(candidates="each"), "candidates: unknown value 'each'"),
        (lambda: PathSearch(beam=0), "beam: expected a whole number of at least 1, got 0"),
        (lambda: PathSearch(k=2, beam=2), "k: 2 neurons per layer need beam=1"),
        (lambda: PathSearch(k=2, candidates="alone"), "k: 2 neurons per layer need .* candidates='together'"),
        (lambda: InfluencePattern(shared=0), "shared: expected"),
        (lambda: Exhaustive(k=2), "k: the search among all paths takes one neuron per layer"),
    ],
)
def test_other_searches_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("search", "labels", "message"),
    [
        ("neuron-pat", [0, 1], "unknown search 'neuron-pat'; did you mean 'neuron-path'"),
        (7, [0, 1], "search: expected a name or a value, such as PathSearch[(][)], got 7"),
        (PathSearch(k=65), [0, 1], "k: expected at most the 64 neurons of a layer, got 65"),
        (PathSearch(), [0, 5], "labels: .* has classes 0 to 4, got 5"),
        (PathSearch(), [0], "labels: expected 2 class indices"),
        (Exhaustive(), [0, 1], "3 layers of 64 neurons have 2.62e[+]05 paths"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(toy_vit, images, search, labels, message, monkeypatch):
    monkeypatch.setattr("circuitstore.evaluation.neurons.search.MOST_PATHS", 1000)
    model = toy_vit()
    with pytest.raises(InputError, match=message):
        neuron_paths(model, images(model, 2), labels, search)


def test_images_of_another_model_are_refused(toy_vit, images):
    model = toy_vit()
    for wrong, message in (
        (images(model, 1)[..., :4], r"images: expected a tensor \[image, 3, 8, 8\]"),
        (images(model, 1)[:0], "images: expected at least one image"),
        (images(model, 1) / 0, "images: NaN or infinite pixels in image 0"),
        (images(model, 1).byte(), "images: expected normalised pixels"),
    ):
        for call in (
            lambda wrong=wrong: neuron_paths(model, wrong, [0] * len(wrong)),
            lambda wrong=wrong: score_paths(model, wrong, [0] * len(wrong), np.zeros((3, 1), int)),
        ):
            with pytest.raises(InputError, match=message):
                call()


def test_fields_are_given_by_name(toy_vit, images):
    model = toy_vit()
    given = {"score": "ig", "beam": 2}
    a, b = (neuron_paths(model, images(model, 1), [0], *args) for args in ((PathSearch(**given),), ()))
    named = neuron_paths(model, images(model, 1), [0], **given)
    assert np.array_equal(named.paths, a.paths) and named.search == a.search != b.search
    with pytest.raises(InputError, match="unknown field 'beams'; did you mean 'beam'"):
        neuron_paths(model, images(model, 1), [0], beams=2)
    with pytest.raises(InputError, match="unknown field 'beam'"):
        neuron_paths(model, images(model, 1), [0], "activation", beam=2)


def test_a_model_without_class_token_is_refused_and_explained_at_all_tokens(toy_vit, images):
    model = toy_vit(class_token=False, global_pool="avg")
    with pytest.raises(InputError, match="tokens='all'"):
        neuron_paths(model, images(model, 2), [0, 1])
    assert len(neuron_paths(model, images(model, 2), [0, 1], PathSearch(tokens="all"))) == 2
