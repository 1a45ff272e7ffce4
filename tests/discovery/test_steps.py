"""Residuals and automatic steps: what is reported, and how many steps are taken."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from circuitstore.circuits import ComputationGraph
from circuitstore.discovery import METHODS, discover, estimate_cost, score_edges
from circuitstore.discovery.conserved import Residual
from circuitstore.discovery.steps import AutoSteps
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import ImagePairs

PATHS = [key for key, method in METHODS.items() if method.conserves]
ITERATED = ["iterative-pruning", "iterative-expansion"]


@pytest.fixture(scope="module")
def near(toy_vit, images):
    """A toy model, and pairs between which it is smooth, of the class whose logit corruption moves in one direction."""
    model = toy_vit(3, depth=2)
    x = images(model, 1, 1) + 0.01 * images(model, 2, 5)
    y = x + 0.3 * images(model, 1, 2)
    moved = (model.logits(x) - model.logits(y)).mean(dim=0)
    return model, ImagePairs.of(model, x, y, [int(moved.argmax())] * 2)


@pytest.fixture(scope="module")
def sharp(toy_vit, images):
    """A toy model, and a pair between which it is strongly nonlinear, of the class that the clean image raises most."""
    model = toy_vit(depth=2)
    x, y = images(model, 1, 1), images(model, 1, 2)
    return model, ImagePairs.of(model, x, y, [int((model.logits(x) - model.logits(y)).argmax())])


def test_texts_of_auto_and_other_texts():
    assert AutoSteps.parse("auto") == AutoSteps() == AutoSteps.parse(AutoSteps().text)
    assert AutoSteps().text == "auto(limit 40, tolerance 0.05)"
    assert AutoSteps.parse("auto(limit 320, tolerance 0.01)") == AutoSteps(320, 0.01)
    assert AutoSteps.parse(AutoSteps(40, 1e-5).text) == AutoSteps(40, 1e-5)
    for text in ("", "automatic", "auto()", "auto(limit 4, tolerance 0.05)", "auto(limit 10, tolerance 1)", 5, None):
        assert AutoSteps.parse(text) is None
    assert AutoSteps(80).tries == [5, 10, 20, 40, 80]
    assert AutoSteps(limit=79).tries == AutoSteps().tries == [5, 10, 20, 40]
    assert AutoSteps(limit=5).tries == [5]


@pytest.mark.parametrize("method", [*PATHS, *ITERATED])
def test_auto_has_its_own_identity(method):
    short, long = METHODS.resolve(method, {"steps": "auto"}), METHODS.resolve(method, {"steps": AutoSteps().text})
    assert short == long and short["steps"] == "auto(limit 40, tolerance 0.05)"
    assert short != METHODS.resolve(method, {"steps": 5})
    with pytest.raises(InputError, match=r'a whole number of at least 1, or "auto", .* got \'autom\''):
        METHODS.resolve(method, {"steps": "autom"})


@pytest.mark.slow
@pytest.mark.parametrize("method", PATHS)
def test_auto_gives_the_scores_of_the_first_sufficient_steps(near, method):
    model, pairs = near
    form, most = METHODS[method].forms[-1], 0.0002 if method == "gate-ig" else 0.004
    use = METHODS.resolve(method, {"steps": f"auto(limit 640, tolerance {most})"})
    found = discover(model, pairs, use, form=form)
    steps = [tried["steps"] for tried in found.trace["tried"]]
    assert steps == [5 * 2**i for i in range(len(steps))] and steps[-1] == found.trace["steps"] < 640
    off = [tried["residual"] for tried in found.trace["tried"]]
    assert all(before > most for before in off[:-1]) and off[-1] <= most
    assert len(steps) > 1 and all(3 < a / b < 5 for a, b in pairwise(off))  # midpoint rule: a quarter each time
    fixed = score_edges(model, pairs, method, form=form, steps=steps[-1])
    assert np.array_equal(found.scores.per_image, fixed.per_image)
    assert (found.scores.residual, found.scores.residual_absolute) == (fixed.residual, fixed.residual_absolute)
    assert found.scores.residual == off[-1]


@pytest.mark.parametrize("method", ITERATED)
def test_each_round_takes_the_steps_that_it_needs(near, method):
    model, pairs = near
    auto, two = (
        METHODS.resolve(method, {"steps": steps, "fraction": 0.5}) for steps in ("auto(limit 80, tolerance 0.003)", 2)
    )
    found = discover(model, pairs, auto, form="block")
    gap = abs(float((model.logits(pairs.clean) - model.logits(pairs.corrupted))[:, pairs.labels[0]].mean()))
    assert all(off <= 0.003 * gap for off in found.trace["residual_absolute"])
    assert set(found.trace["steps"]) <= {0, 5, 10, 20, 40, 80} and max(found.trace["steps"]) > 5
    assert len(found.trace["steps"]) == len(found.trace["gain" if method.endswith("pruning") else "missing"])
    assert "steps" not in discover(model, pairs, two, form="block").trace


def test_auto_stops_at_its_limit_and_warns(sharp):
    use = METHODS.resolve("eap-ig", {"steps": "auto(limit 10, tolerance 0.001)", "rule": "left"})
    with pytest.warns(CircuitStoreWarning, match="raise the limit of steps"):
        found = discover(*sharp, use, form="block")
    assert [tried["steps"] for tried in found.trace["tried"]] == [5, 10]


@pytest.mark.slow
def test_a_large_residual_is_reported_with_its_size_in_both_units(sharp):
    model, pairs = sharp
    gap = float((model.logits(pairs.clean) - model.logits(pairs.corrupted))[0, pairs.labels])
    with pytest.warns(CircuitStoreWarning, match=r'steps = "auto"') as caught:
        found = score_edges(model, pairs, steps=1, rule="left", form="block")
    assert found.residual == pytest.approx(found.residual_absolute / abs(gap), rel=1e-12)
    (said,) = [str(w.message) for w in caught]
    assert f"off by {found.residual_absolute:.4g}, {found.residual:.1%}" in said
    with warnings.catch_warnings():
        warnings.simplefilter("error", CircuitStoreWarning)
        assert score_edges(model, pairs, steps=160, form="block").residual < 0.05


def test_the_share_of_an_insignificant_gap_is_none_without_a_warning(sharp):
    """Each pair and its reverse: the metric's differences cancel, the error of the left rule does not."""
    model, pairs = sharp
    x, y = pairs.clean, pairs.corrupted
    both = ImagePairs.of(model, torch.cat([x, y]), torch.cat([y, x]), pairs.labels.repeat(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CircuitStoreWarning)
        found = score_edges(model, both, steps=1, rule="left", form="block")
    assert found.residual is None and found.residual_absolute > 0.05


def test_the_residual_is_that_of_the_worst_sum():
    graph, differences = ComputationGraph(1, 2, "block"), np.array([0.9, 1.1, 1.0, 1.0])
    scores = np.zeros(graph.n_edges)
    scores[[graph.index_of(edge) for edge in ("input->a0", "a0->m0", "m0->logits")]] = 1.0, 0.8, 1.1
    found = Residual.of(graph, "cuts", scores, differences)
    assert (found.actual, found.expected, found.relative) == (pytest.approx(0.8), 1.0, pytest.approx(0.2))
    assert Residual.of(graph, "input", scores, differences).absolute == 0
    assert Residual.of(graph, "edges", scores, differences).absolute == pytest.approx(1.9)
    nodes = Residual.of(graph, "nodes", scores, differences, np.array([1.0, 1.0, 1.2]))
    assert (nodes.actual, nodes.expected) == (pytest.approx(0.8), 1.0)


def test_cuts_between_the_heads_of_a_layer_are_checked():
    """Flow enters h0 and leaves h1: every cut between layers carries 1, one between the heads 2, the other 0."""
    graph = ComputationGraph(1, 2, "head")
    scores = np.zeros(graph.n_edges)
    scores[[graph.index_of(edge) for edge in ("input->a0.h0", "a0.h1->logits")]] = 1.0
    found = Residual.of(graph, "cuts", scores, np.ones(2))
    assert found.absolute == 1 and found.actual in (0, 2)


def test_the_tolerance_of_an_insignificant_gap_uses_three_standard_errors():
    """Below three standard errors, the smallest significant gap replaces the gap."""
    differences = np.array([1.0, -1.0, 1.0, -1.0])
    error = 1 / 3**0.5  # standard deviation 2/√3, over √4
    assert Residual.between(0.07, 0.0, differences).within(0.05) == (0.05 * 3 * error >= 0.07)
    assert not Residual.between(0.09, 0.0, differences).within(0.05)
    assert Residual.between(1.04, 1.0, np.ones(1)).within(0.05) and not Residual.between(1.06, 1.0, np.ones(1)).within(
        0.05
    )


def test_auto_raises_if_nothing_is_conserved(near):
    model, pairs = near
    for method in [key for key in PATHS if "gradient" in METHODS[key].params]:
        with pytest.raises(InputError, match=r"with gradient 'relp' .* have no known sum"):
            discover(model, pairs, METHODS.resolve(method, {"steps": "auto", "gradient": "relp"}))
    for method in ("eap-ig-activations-as-coded", "ugs", "edge-pruning"):
        said = f"method '{method}': steps: expected a whole number of at least 1, got 'auto'"
        with pytest.raises(InputError, match=said):
            METHODS.resolve(method, {"steps": "auto"})


def test_auto_is_estimated_by_the_common_steps():
    graph = ComputationGraph(12, 12)
    tries = [estimate_cost(graph, METHODS.resolve("eap-ig", {"steps": n}), 2) for n in (5, 10)]
    common = estimate_cost(graph, METHODS.resolve("eap-ig", {"steps": "auto"}), 2)
    assert (common.forwards, common.backwards) == (sum(t.forwards for t in tries), sum(t.backwards for t in tries))
