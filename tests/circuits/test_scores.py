# pyright: reportAttributeAccessIssue=false
"""Scores: aggregation over images, projection, flows, and rounding for the archive."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from circuitstore.circuits import FORMS, ComputationGraph, Discovery, EdgeScores, Form
from circuitstore.circuits.scores import from_half, to_half
from circuitstore.errors import InputError
from circuitstore.testing.factories import make_discovery
from hypothesis import given
from hypothesis import strategies as st

magnitudes = st.floats(1e-30, 1e30)


def random_scores(form: Form, *, images: int = 5, seed: int = 0) -> EdgeScores:
    graph = ComputationGraph(3, 2, form)
    return EdgeScores.from_images(graph, np.random.default_rng(seed).normal(size=(images, graph.n_edges)))


def test_mean_and_spread_are_over_images() -> None:
    scores = random_scores("split")
    assert scores.per_image is not None and scores.std is not None
    np.testing.assert_allclose(scores.mean, scores.per_image.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scores.std, scores.per_image.std(axis=0, ddof=1), rtol=1e-14)
    assert random_scores("split", images=1).std is None


def test_a_subset_has_its_own_mean_and_deviation() -> None:
    scores = random_scores("head")
    assert scores.per_image is not None
    np.testing.assert_array_equal(scores.subset(np.array([0, 3])).mean, scores.per_image[[0, 3]].mean(axis=0))
    with pytest.raises(InputError, match="per-image"):
        EdgeScores(scores.graph, scores.mean).subset(np.array([0]))


@pytest.mark.parametrize("fine", FORMS)
@pytest.mark.parametrize("coarse", FORMS)
def test_projection_keeps_sums(fine: Form, coarse: Form) -> None:
    scores = random_scores(fine)
    if FORMS.index(coarse) < FORMS.index(fine):
        with pytest.raises(InputError, match="finer"):
            scores.project(coarse)
        return
    coarser = scores.project(coarse)
    assert coarser.graph == replace(scores.graph, form=coarse)
    assert scores.per_image is not None and coarser.per_image is not None and coarser.std is not None
    near = partial(np.testing.assert_allclose, rtol=0, atol=1e-13 * np.abs(scores.per_image).sum())
    near(coarser.mean.sum(), scores.mean.sum())
    near(coarser.per_image.sum(axis=1), scores.per_image.sum(axis=1))
    np.testing.assert_allclose(coarser.std, coarser.per_image.std(axis=0, ddof=1), rtol=1e-12)
    # the outflow of a node, and the inflow of nodes that both forms have, do not change
    for name in ("input", "m0", "m1", "m2"):
        i, j = scores.graph.node_index[name], coarser.graph.node_index[name]
        near(coarser.outflow[j], scores.outflow[i])
        near(coarser.inflow[j], scores.inflow[i])


def test_projection_in_steps_equals_projection_at_once() -> None:
    scores = random_scores("split")
    stepwise = scores.project("head").project("attention").project("block")
    rounding = 1e-13 * np.abs(scores.mean).sum()
    np.testing.assert_allclose(stepwise.mean, scores.project("block").mean, rtol=0, atol=rounding)


@pytest.mark.parametrize("kind", [{"additive": False}, {"signed": False}])
def test_projection_raises_if_it_is_not_exact(kind: dict[str, bool]) -> None:
    with pytest.raises(InputError, match="additive signed"):
        replace(random_scores("split"), **kind).project("head")


def test_a_deviation_without_images_does_not_project() -> None:
    assert replace(random_scores("split"), per_image=None).project("head").std is None


@pytest.mark.parametrize("form", FORMS)
def test_flows_are_sums_over_edges_by_name(form: Form) -> None:
    scores = random_scores(form)
    frame = scores.to_pandas()
    frame["receiver"] = frame["receiver"].str.replace(r"<.>", "", regex=True)
    into, out_of = frame.groupby("receiver")["score"].sum(), frame.groupby("sender")["score"].sum()
    near = partial(np.testing.assert_allclose, rtol=0, atol=1e-13 * np.abs(scores.mean).sum())
    for i, name in enumerate(scores.graph.node_names):
        near(scores.inflow[i], into.get(name, 0.0))
        near(scores.outflow[i], out_of.get(name, 0.0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_error_names_the_edge_of_a_score_that_is_not_finite(bad: float) -> None:
    values = np.zeros(8)
    values[2] = bad
    with pytest.raises(InputError, match=r"input->a0\.h0<v>"):
        EdgeScores(ComputationGraph(1, 1), values)


def test_scores_of_another_graph_raise() -> None:
    with pytest.raises(InputError, match="expected 8 edges"):
        EdgeScores(ComputationGraph(1, 1), np.zeros(9))
    with pytest.raises(InputError, match="at least one image"):
        EdgeScores.from_images(ComputationGraph(1, 1), np.zeros((0, 8)))


@given(st.lists(magnitudes, min_size=1, max_size=4), st.integers(0, 2**32))
def test_half_precision_keeps_its_relative_error(scales: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = 2.0 ** rng.uniform(-28, 0, (len(scales), 50)) * rng.choice([-1, 1], (len(scales), 50))
    values = (spread * np.array(scales)[:, None]).astype(np.float32)
    values[:, 0] = scales  # the largest of each image, so that the others lie within 2⁻²⁸ of it
    back = from_half(*to_half(values))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, values, rtol=2.0**-11)


@given(st.lists(magnitudes, min_size=1, max_size=4), st.integers(0, 2**32))
def test_half_precision_rounds_once(scales: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.laplace(size=(len(scales), 30)) * np.array(scales)[:, None]).astype(np.float32)
    half, exponent = to_half(values)
    again, exponent_again = to_half(from_half(half, exponent))
    np.testing.assert_array_equal(half, again)
    np.testing.assert_array_equal(exponent, exponent_again)


def test_half_precision_of_empty_arrays_and_zeros() -> None:
    assert not from_half(*to_half(np.zeros((2, 3), np.float32))).any()
    assert from_half(*to_half(np.zeros((0, 3), np.float32))).shape == (0, 3)


def test_rounding_leaves_the_mean_and_is_idempotent() -> None:
    scores = random_scores("split").rounded()
    np.testing.assert_array_equal(scores.mean, random_scores("split").mean)
    np.testing.assert_array_equal(scores.rounded().per_image, scores.per_image)
    assert EdgeScores(scores.graph, scores.mean).rounded().per_image is None


def test_the_checksum_of_a_discovery_covers_images_and_every_array() -> None:
    found = make_discovery(0)
    scores = found.scores
    assert scores is not None and scores.per_image is not None and scores.std is not None

    def nudged(values: np.ndarray) -> np.ndarray:
        other = values.copy()
        other.flat[-1] = np.nextafter(other.flat[-1], np.float32(np.inf))
        return other

    members = np.zeros(scores.graph.n_edges, bool)
    others = [
        replace(found, images=found.images[::-1]),
        replace(found, scores=replace(scores, mean=nudged(scores.mean))),
        replace(found, scores=replace(scores, std=nudged(scores.std))),
        replace(found, scores=replace(scores, per_image=nudged(scores.per_image))),
        replace(found, scores=replace(scores, per_image=None)),
        replace(found, members=members),
        replace(found, members=~members),
        replace(found, scores=None, members=members),
    ]
    assert len({found.sha256, *(d.sha256 for d in others)}) == 1 + len(others)
    assert {d.id for d in others} == {found.id}


def test_the_checksum_ignores_provenance_and_the_sign_of_zero() -> None:
    found = make_discovery(0)
    assert found.scores is not None
    zero = replace(found.scores, mean=np.zeros_like(found.scores.mean))
    minus = replace(zero, mean=-zero.mean)
    same: list[Discovery] = [
        replace(found, scores=zero),
        replace(found, scores=minus),
        replace(found, scores=zero, provenance={"device": "elsewhere"}, trace={"seconds": 1}),
    ]
    assert len({d.sha256 for d in same}) == 1
