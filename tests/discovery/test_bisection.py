"""Circuits by bisection: they keep the target, slightly smaller ones do not, and they are connected."""

import re

import numpy as np
import pytest
import torch
from circuitstore.circuits import EdgeScores, connected, size_grid
from circuitstore.discovery import score_edges, smallest_by_bisection
from circuitstore.discovery.bisection import _smallest, with_buffer
from circuitstore.errors import InputError
from circuitstore.evaluation import ImagePairs, evaluate

from ..planted import PLANTED, planted_model


@pytest.fixture(scope="module")
def contrast(contrast):
    """A toy model, pairs that it classifies differently, and scores."""
    model, x, y, labels = contrast
    pairs = ImagePairs.of(model, x, y, labels)
    return model, pairs, score_edges(model, pairs, form="attention", steps=20)


@pytest.mark.parametrize("of", ["retention", "faithfulness"])
@pytest.mark.parametrize("target", [0.5, 0.9])
def test_the_circuit_keeps_the_target_and_is_connected(contrast, of, target):
    model, pairs, scores = contrast
    found = smallest_by_bisection(model, pairs, scores, target=target, of=of, absolute=True)
    assert found.n_edges < scores.graph.n_edges
    assert getattr(evaluate(model, pairs, found), of) >= target
    best = np.argsort(-np.abs(scores.mean), kind="stable")[: found.size_requested]
    assert found.members[best].all()
    assert np.array_equal(scores.graph.prune(found.members), found.members)
    assert found.extraction.startswith(f"bisection(target={target:g}, of={of}, buffer=0.1, absolute)")


@pytest.mark.parametrize("n_edges", [5, 28, 262, 32491])
def test_bisection_finds_every_size_in_few_trials(n_edges):
    for wanted in {1, 2, n_edges // 3, n_edges - 1, n_edges}:
        tried = []

        def keeps(size, wanted=wanted, tried=tried):
            tried.append(size)
            return size >= wanted

        assert _smallest(n_edges, keeps) == wanted
        assert len(tried) <= np.log2(n_edges) + 4
        assert set(tried[:2]) <= set(size_grid(n_edges))


def test_the_planted_circuit_is_the_smallest_that_keeps_all(images):
    model = planted_model(0)
    x, y = images(model, 8, 0), images(model, 8, 10)
    pairs = ImagePairs.of(model, x, y, (model.logits(x) - model.logits(y)).argmax(dim=1))
    scores = score_edges(model, pairs, "eap")
    found = smallest_by_bisection(model, pairs, scores, target=1 - 1e-9, of="faithfulness", absolute=True)
    assert set(found.edges) == PLANTED


def test_edges_are_added_back_if_all_images_need_more_than_the_searched_half(contrast):
    model, pairs, scores = contrast

    def share(size, images):
        circuit = connected(scores, size, absolute=True)
        found = evaluate(model, pairs[images], circuit)
        return (found.metric_circuit - found.metric_empty) / (found.metric_full - found.metric_empty)

    given_back = 0
    for target in (0.2, 0.4, 0.7, 0.95):
        wide = smallest_by_bisection(model, pairs, scores, target=target, of="faithfulness", buffer=0.5, absolute=True)
        back = re.search(r"(\d+) edges added back", wide.extraction)
        size = wide.size_requested - int(back[1]) if back else wide.size_requested
        assert share(size, slice(None, None, 2)) >= target > share(size - 1, slice(None, None, 2))
        assert (share(size, slice(None)) < target) == bool(back)
        given_back += bool(back)
    assert 0 < given_back < 4


@pytest.mark.filterwarnings("ignore:corrupted. .* equal their clean images")
def test_all_images_are_searched_if_the_half_has_no_gap(contrast):
    """Every other image, starting with the first, is contrasted with itself."""
    model, pairs, scores = contrast
    clean = torch.stack([pairs.corrupted, pairs.clean], dim=1).flatten(0, 1)
    doubled = ImagePairs.of(model, clean, pairs.corrupted.repeat_interleave(2, dim=0), pairs.labels.repeat(2))
    for of in ("retention", "faithfulness"):
        found = smallest_by_bisection(model, doubled, scores, target=0.5, of=of, buffer=0.0, absolute=True)
        smaller = connected(scores, found.size_requested - 1, absolute=True)
        at, before = (getattr(evaluate(model, pairs, circuit), of) for circuit in (found, smaller))
        assert at >= 0.5 > before
        assert "all edges" not in found.extraction


def test_the_buffer_reaches_a_share_below_the_threshold():
    scores = EdgeScores(planted_model(0).graph("block"), np.linspace(28, 1, 28) * np.resize([1, -1], 28))
    assert with_buffer(scores, 9, 0.1, absolute=True) == 11  # τ = 20, down to 18
    assert with_buffer(scores, 9, 0.0, absolute=True) == 9
    assert with_buffer(scores, 2, 0.1, absolute=False) == 3  # 28, 26; τ = 26, down to 23.4


def test_without_a_gap_all_edges_are_kept_with_the_reason(contrast):
    model, pairs, scores = contrast
    turned = ImagePairs.of(model, pairs.corrupted, pairs.clean, pairs.labels)
    found = smallest_by_bisection(model, turned, scores, target=0.9)
    assert found.n_edges == scores.graph.n_edges
    assert "all edges: the full model is not above" in found.extraction


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"target": 1.5}, "target"), ({"target": 0.5, "buffer": 1.0}, "buffer"), ({"target": 0.5, "of": "loss"}, "share")],
)
def test_values_out_of_range_raise(contrast, wrong, said):
    model, pairs, scores = contrast
    with pytest.raises(InputError, match=said):
        smallest_by_bisection(model, pairs, scores, **wrong)


def test_targets_are_halved_with_their_images(contrast):
    model, pairs, scores = contrast
    aimed = ImagePairs.of(model, pairs.clean, pairs.corrupted, (pairs.labels + 1) % 5, targets=pairs.labels)
    found = smallest_by_bisection(model, aimed, scores, metric="logit-diff", target=0.5, absolute=True)
    plain = smallest_by_bisection(model, pairs, scores, target=0.5, absolute=True)
    assert np.array_equal(found.members, plain.members)  # the class that the metric raises is the same
    assert connected(scores, 0).n_edges == 0
