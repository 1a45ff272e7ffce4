"""Image pairs are checked when they are created; functions only check that they fit the model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from circuitstore.circuits import EdgeScores, random_circuit
from circuitstore.discovery import METHODS, discover, score_edges, smallest_by_bisection, smallest_with_retention
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import (
    ImagePairs,
    completeness,
    evaluate,
    evaluate_many,
    faithfulness_curve,
    head_to_head,
    hypothesis_tests,
    magnitude_scores,
    minimality,
    outcomes,
    patch_edges,
    patch_nodes,
    patch_path,
    random_curves,
)

LABELS = [0, 1, 2]


@pytest.fixture(scope="module")
def model(toy_vit):
    return toy_vit(depth=2)


@pytest.fixture
def tensors(model, images):
    return images(model, 3, 1), images(model, 3, 2)


def test_integer_pixels_raise(model, tensors):
    x, y = tensors
    for dtype in (torch.uint8, torch.int64):
        with pytest.raises(InputError, match="clean: expected normalised pixels in floating point, got torch"):
            ImagePairs.of(model, (x * 40 + 128).to(dtype), y, LABELS)
        with pytest.raises(InputError, match="corrupted: expected normalised pixels in floating point, got torch"):
            ImagePairs.of(model, x, (y * 40 + 128).to(dtype), LABELS)


def test_pairs_that_are_all_equal_raise_and_some_warn(model, tensors):
    x, y = tensors
    with pytest.raises(InputError, match="every image equals its clean image"):
        ImagePairs.of(model, x, x.clone(), LABELS)
    y[1] = x[1]
    with pytest.warns(CircuitStoreWarning, match=r"1 of 3 images equal their clean images: 1 \(counted from 0\)"):
        ImagePairs.of(model, x, y, LABELS)


def test_pixels_that_are_far_from_normalised_warn(model, tensors):
    x, y = tensors
    with pytest.warns(CircuitStoreWarning, match=r"clean: pixels up to .* lie within 20"):
        ImagePairs.of(model, 50 * x, y, LABELS)
    with pytest.warns(CircuitStoreWarning, match=r"corrupted: pixels up to .* lie within 20"):
        ImagePairs.of(model, x, 50 * y, LABELS)


@pytest.mark.filterwarnings("error::circuitstore.errors.CircuitStoreWarning")
def test_the_pixel_limit_follows_the_model_s_normalisation(model):
    wide = replace(model, preprocess=replace(model.preprocess, mean=(0.5,) * 3, std=(1 / 255,) * 3))
    grey = torch.linspace(-1, 1, 3 * 3 * 8 * 8, dtype=torch.float64).reshape(3, 3, 8, 8)
    ImagePairs.of(wide, 127 * grey, -127 * grey, LABELS)
    with pytest.warns(CircuitStoreWarning, match=r"corrupted: pixels up to 129 .* lie within 127\.5"):
        ImagePairs.of(wide, 127 * grey, 129 * grey, LABELS)


def test_a_slice_of_pairs_keeps_the_attributes_of_its_images(model, tensors):
    x, y = tensors
    masks = {"each": torch.rand(3, model.n_tokens, generator=torch.Generator().manual_seed(0)) < 0.5}
    pairs = ImagePairs.of(model, x, y, LABELS, targets=[3, 4, 3], hashes=["a", "b", "c"], token_groups=masks)
    parts = [pairs[1:], *pairs.batches(2)]
    assert [len(part) for part in parts] == [2, 2, 1]
    for part, images in zip(parts, (slice(1, None), slice(0, 2), slice(2, 3)), strict=True):
        assert torch.equal(part.clean, x[images]) and torch.equal(part.corrupted, y[images])
        assert part.labels.tolist() == [0, 1, 2][images] and part.targets.tolist() == [3, 4, 3][images]
        assert part.hashes == ("a", "b", "c")[images]
        assert torch.equal(part.token_groups.masks[0], masks["each"][images])
    plain = ImagePairs.of(model, x, y, LABELS)[:1]
    assert (plain.targets, plain.hashes, plain.token_groups) == (None, (), None)


def test_the_digest_is_of_images_and_classes(model, tensors):
    x, y = tensors
    asked = [(x, y, LABELS), (y, x, LABELS), (x, y, [0, 1, 1]), (x, y, LABELS, [1, 2, 3]), (x[:2], y[:2], LABELS[:2])]
    digests = {ImagePairs.of(model, *one).digest for one in asked}
    assert len(digests) == len(asked)
    assert ImagePairs.of(model, x.clone(), y.clone(), torch.tensor(LABELS)).digest in digests


ALL = {
    "score_edges": lambda m, pairs, good, c, s: score_edges(m, pairs, "eap"),
    "discover": lambda m, pairs, good, c, s: discover(m, pairs, "flow-routes"),
    "discover, selection": lambda m, pairs, good, c, s: discover(
        m, good, METHODS.resolve("vi-cd", {"threshold": 0.1}), form="attention", selection=pairs
    ),
    "evaluate": lambda m, pairs, good, c, s: evaluate(m, pairs, c),
    "evaluate_many": lambda m, pairs, good, c, s: evaluate_many(m, pairs, [c]),
    "outcomes": lambda m, pairs, good, c, s: outcomes(m, pairs, [c]),
    "patch_edges": lambda m, pairs, good, c, s: patch_edges(m, pairs, ["m0->logits"]),
    "patch_nodes": lambda m, pairs, good, c, s: patch_nodes(m, pairs),
    "patch_path": lambda m, pairs, good, c, s: patch_path(m, pairs, ["m0", "logits"]),
    "head_to_head": lambda m, pairs, good, c, s: head_to_head(m, pairs, 0, 1),
    "smallest_with_retention": lambda m, pairs, good, c, s: smallest_with_retention(m, pairs, s, target=0.5),
    "smallest_by_bisection": lambda m, pairs, good, c, s: smallest_by_bisection(m, pairs, s, target=0.5),
    "faithfulness_curve": lambda m, pairs, good, c, s: faithfulness_curve(m, pairs, s, sizes=[3]),
    "random_curves": lambda m, pairs, good, c, s: random_curves(m, pairs, sizes=[3], draws=1),
    "magnitude_scores": lambda m, pairs, good, c, s: magnitude_scores(m, pairs),
    "completeness": lambda m, pairs, good, c, s: completeness(m, pairs, c, draws=0, steps=0),
    "minimality": lambda m, pairs, good, c, s: minimality(m, pairs, c, draws=0),
    "hypothesis_tests": lambda m, pairs, good, c, s: hypothesis_tests(m, pairs, c, draws=1),
}
"""Each called with a model, pairs, pairs that fit, a circuit and scores."""


@pytest.mark.parametrize("ask", ALL.values(), ids=ALL.keys())
def test_pairs_of_another_kind_of_model_raise(model, tensors, toy_vit, images, ask):
    graph, good = model.graph("split"), ImagePairs.of(model, *tensors, LABELS)
    circuit = random_circuit(graph, 9, seed=0)
    scores = EdgeScores(graph, torch.arange(graph.n_edges).double().numpy())
    large, many = toy_vit(img_size=16), toy_vit(num_classes=7)
    with pytest.raises(InputError, match=r"clean: expected a tensor \[image, 3, 8, 8\] .* got \(3, 3, 16, 16\)"):
        ask(model, ImagePairs.of(large, images(large, 3, 1), images(large, 3, 2), LABELS), good, circuit, scores)
    with pytest.raises(InputError, match=r"labels: .* has classes 0 to 4, got 6"):
        ask(model, ImagePairs.of(many, *tensors, [0, 1, 6]), good, circuit, scores)
