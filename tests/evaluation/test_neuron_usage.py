"""Counts, stability and similarity of neuron paths: worked out by hand, by brute force, and under renumbering."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.evaluation.neurons.path_changes import path_changes
from circuitstore.evaluation.neurons.similarity import neuron_similarity
from circuitstore.evaluation.neurons.usage import class_neurons, neuron_usage, path_stability
from hypothesis import given, settings
from hypothesis import strategies as st

NEURONS = 7
SAME = ("images", "modal_share", "agreement", "agreement_any", "different", "entropy")
"""Columns of `path_stability` that do not name a neuron."""


def random_paths(rng, images, layers, k):
    """Return paths of different neurons, of which low ones are likelier."""
    return np.argsort(rng.random((images, layers, NEURONS)) * (1 + np.arange(NEURONS)), axis=2)[:, :, :k]


@st.composite
def found_paths(draw):
    """Paths of images of up to three classes, some with one image."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, layers, k = draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    labels = np.array(draw(st.lists(st.sampled_from([2, 5, 11]), min_size=images, max_size=images)))
    return class_neurons(random_paths(rng, images, layers, k), labels, NEURONS)


def renumbered(found, seed=0):
    """Return the same paths with other numbers for the neurons of each layer."""
    rng = np.random.default_rng(seed)
    new = np.stack([rng.permutation(NEURONS) for _ in range(found.paths.shape[1])])
    return class_neurons(new[np.arange(len(new))[:, None], found.paths], found.labels, NEURONS)


def overlap(a, b):
    """Return the share of common neurons of two paths, per layer."""
    return np.array([len(set(p) & set(q)) / len(p) for p, q in zip(a, b, strict=True)])


def mean_overlap(first, second):
    """Return the mean overlap of each path with the other images' paths."""
    pairs = [overlap(first[i], second[j]) for i, j in permutations(range(len(first)), 2)]
    return np.mean(pairs, axis=0) if pairs else np.full(first.shape[1], np.nan)


@settings(max_examples=25)
@given(found_paths())
def test_counts_are_of_images(found):
    images, layers, k = found.paths.shape
    assert (found.counts.sum(axis=2) == k * found.n_images[:, None]).all()
    assert found.counts.sum() == images * layers * k
    assert np.allclose(found.frequency.sum(axis=2), k) and found.frequency.max() <= 1
    frame = found.to_pandas()
    assert np.allclose(frame.groupby(["class", "layer"])["frequency"].sum(), k)
    assert (frame["node"] == [f"m{row.layer}.n{row.neuron}" for row in frame.itertuples()]).all()


@settings(max_examples=25)
@given(found_paths(), st.integers(0, NEURONS))
def test_the_top_neurons_are_different_and_on_most_paths(found, k):
    best = found.top(k)
    assert best.shape == (len(found.classes), found.paths.shape[1], k)
    counts = np.take_along_axis(found.counts, best, axis=2)
    assert (np.diff(counts, axis=2) <= 0).all()
    assert (np.diff(np.sort(best, axis=2), axis=2) > 0).all()
    others = found.counts.copy()
    np.put_along_axis(others, best, -1, axis=2)
    assert k == 0 or (others.max(axis=2) <= counts[:, :, -1]).all()


def test_a_class_path_names_no_neuron_twice():
    """The mode of each rank of the paths would be neuron 1 twice."""
    paths = np.array([[[1, 2]], [[1, 3]], [[4, 1]], [[5, 1]], [[1, 2]], [[0, 1]]])
    assert class_neurons(paths, np.zeros(6, int), 6).top(2).tolist() == [[[1, 2]]]


@settings(max_examples=25)
@given(found_paths())
def test_stability_is_the_mean_over_pairs_of_images(found):
    frame = path_stability(found).to_pandas().set_index(["class", "layer"])
    together = mean_overlap(found.paths, found.paths)
    for cls in found.classes:
        paths = found.paths[found.labels == cls]
        rows = frame.loc[cls]
        assert np.allclose(rows["agreement"], mean_overlap(paths, paths), equal_nan=True)
        assert np.allclose(rows["agreement_any"], together, equal_nan=True)
        assert (rows["different"] == [len(np.unique(paths[:, layer])) for layer in range(paths.shape[1])]).all()
        assert (rows["images"] == len(paths)).all()
        share = [(paths[:, layer] == modal).any(axis=1).mean() for layer, modal in enumerate(rows["modal"])]
        assert np.allclose(rows["modal_share"], share)


@settings(max_examples=25)
@given(found_paths(), st.integers(0, 99))
def test_renumbering_neurons_changes_only_their_names(found, seed):
    other = renumbered(found, seed)
    before, after = path_stability(found).to_pandas(), path_stability(other).to_pandas()
    assert all(np.allclose(before[name], after[name], equal_nan=True) for name in SAME)
    assert np.allclose(neuron_usage(found).to_pandas(), neuron_usage(other).to_pandas())
    a, b = (neuron_similarity(paths, halvings=3) for paths in (found, other))
    assert np.allclose(a.matrix, b.matrix) and np.allclose(a.halves, b.halves, equal_nan=True)


@settings(max_examples=25)
@given(found_paths())
def test_every_image_twice_gives_the_same_frequencies(found):
    twice = class_neurons(np.tile(found.paths, (2, 1, 1)), np.tile(found.labels, 2), NEURONS)
    assert np.allclose(twice.frequency, found.frequency)
    assert np.allclose(neuron_similarity(twice, halvings=1).matrix, neuron_similarity(found, halvings=1).matrix)
    assert np.allclose(neuron_usage(twice).to_pandas(), neuron_usage(found).to_pandas())


def test_entropy_and_effective_number_by_hand():
    uniform = class_neurons(np.arange(5).reshape(5, 1, 1), np.zeros(5, int), NEURONS)
    assert path_stability(uniform).to_pandas()["entropy"].item() == pytest.approx(np.log(5))
    assert neuron_usage(uniform).to_pandas()["effective"].item() == pytest.approx(5)
    same = class_neurons(np.full((5, 2, 1), 3), np.array([0, 0, 0, 1, 1]), NEURONS)
    assert path_stability(same).to_pandas()[["entropy", "agreement", "different"]].values.tolist() == [[0, 1, 1]] * 4
    assert neuron_usage(same).to_pandas().values.tolist() == [[0, NEURONS, 1, 1, 1], [1, NEURONS, 1, 1, 1]]


@settings(max_examples=25)
@given(found_paths())
def test_similarity_is_the_cosine_of_frequencies(found):
    similar = neuron_similarity(found, halvings=4)
    rows = found.frequency.reshape(len(found.classes), -1)
    expected = [[a @ b / np.sqrt((a @ a) * (b @ b)) for b in rows] for a in rows]
    assert np.allclose(similar.matrix, expected)
    assert np.allclose(similar.halves, similar.halves.T, equal_nan=True)
    known = np.isfinite(similar.floor)
    assert (known == (found.n_images > 1)).all() and (similar.halves[known][:, known] >= 0).all()
    frame = similar.to_pandas()
    assert len(frame) == len(rows) * (len(rows) - 1) // 2 and frame["similarity"].is_monotonic_decreasing


def test_similarity_of_equal_and_of_disjoint_classes():
    """Classes 0 and 1 have the same two paths, class 2 has other neurons; image 7 is the odd one of class 2."""
    paths = np.array([[[0]], [[0]], [[0]], [[0]], [[1]], [[1]], [[1]]])
    similar = neuron_similarity(class_neurons(paths, np.array([0, 0, 1, 1, 2, 2, 2]), 2))
    assert np.allclose(similar.matrix, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert np.allclose(similar.halves, similar.matrix) and np.allclose(similar.floor, 1)
    assert similar.to_pandas()[["class_a", "class_b"]].values.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert repr(similar) == "NeuronSimilarity(3 classes, mean 0.333)"
    assert repr(neuron_similarity(class_neurons(paths[:1], np.zeros(1, int), 2))) == "NeuronSimilarity(1 classes)"


@settings(max_examples=25)
@given(found_paths(), st.integers(0, 99))
def test_changes_of_paths_are_means_over_images(found, seed):
    paths = random_paths(np.random.default_rng(seed), *found.paths.shape)
    after = class_neurons(paths, found.labels, NEURONS)
    frame = path_changes(found, after).to_pandas().set_index(["class", "layer"])
    for cls in found.classes:
        a, b = (each.paths[each.labels == cls] for each in (found, after))
        rows = frame.loc[cls]
        assert np.allclose(rows["same"], np.mean([overlap(p, q) for p, q in zip(a, b, strict=True)], axis=0))
        assert np.allclose(rows["others"], mean_overlap(a, b), equal_nan=True)
        assert np.allclose(rows["agreement"], mean_overlap(a, a), equal_nan=True)


@settings(max_examples=25)
@given(found_paths())
def test_paths_do_not_differ_from_themselves(found):
    frame = path_changes(found, found).to_pandas()
    assert (frame["same"] == 1).all() and np.allclose(frame["similarity"], 1)
    assert np.allclose(frame["others"], frame["agreement"], equal_nan=True)
    assert (frame["modal_before"] == frame["modal_after"]).all()


@pytest.mark.usefixtures("unchecked")
def test_paths_that_cannot_be_counted_raise():
    paths, labels = np.zeros((2, 3, 1), int), np.array([0, 1])
    with pytest.raises(InputError, match=r"one class per path \(2, at least one\), got 1"):
        class_neurons(paths, labels[:1], 4)
    with pytest.raises(InputError, match=r"\(0, at least one\)"):
        class_neurons(paths[:0], labels[:0], 4)
    for wrong in (paths[0], paths + 0.5):
        with pytest.raises(InputError, match=r"paths: expected whole numbers \[image, layer, k\]"):
            class_neurons(wrong, labels, 4)
    with pytest.raises(InputError, match="neurons 0 to 3, got 4"):
        class_neurons(paths + 4, labels, 4)
    with pytest.raises(InputError, match="neurons 0 to 3, got -1"):
        class_neurons(paths - 1, labels, 4)
    with pytest.raises(InputError, match=r"the path of image 1 .* names one twice"):
        class_neurons(np.array([[[0, 1]], [[2, 2]]]), labels, 4)
    found = class_neurons(paths, labels, 4)
    with pytest.raises(InputError, match="k: expected a number from 0 to 4"):
        found.top(5)
    for other in (class_neurons(paths, labels[::-1], 4), class_neurons(paths, labels, 5)):
        with pytest.raises(InputError, match="images and their twins in the same order"):
            path_changes(found, other)
