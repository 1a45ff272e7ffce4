"""Points and weights of the mean over steps, and the scores of functions worked out by hand."""

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.evaluation import Integral
from circuitstore.evaluation.neurons.candidates import with_ig, with_jas
from hypothesis import given
from hypothesis import strategies as st

RULES = ("left", "midpoint")


@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from(RULES), st.data())
def test_nodes_give_the_mean_over_the_steps_of_any_polynomial(steps, nodes, rule, data):
    degree = data.draw(st.integers(0, 2 * nodes - 1))
    every, mean = Integral(steps=steps, rule=rule, nodes=None).points
    at, weights = Integral(steps=steps, rule=rule, nodes=nodes).points
    assert len(at) == min(steps, nodes) and weights.sum() == pytest.approx(1) and (weights > 0).all()
    assert weights @ at**degree == pytest.approx(mean @ every**degree, rel=1e-10, abs=1e-12)


def test_many_midpoints_are_gauss_legendre():
    places, weights = np.polynomial.legendre.leggauss(12)
    at, found = Integral(steps=20_000, rule="midpoint", nodes=12).points
    assert np.abs(at - (places + 1) / 2).max() < 1e-7 and np.abs(found - weights / 2).max() < 1e-7


@pytest.mark.parametrize("nodes", [8, None])
@pytest.mark.parametrize(
    ("count", "gradient", "jas", "ig"),
    [
        (2, lambda a: a, 1.9, 0.95),  # F = w1 · w2: each gradient is the other neuron's value
        (2, np.ones_like, 4.0, 2.0),  # F = w1 + w2
        (12, np.ones_like, 144.0, 12.0),  # F = w1 + … + w12
        (1, lambda a: 3 * a**2, 3 * 0.30875, 3 * 0.30875),  # F = w³: a single neuron's JAS is its integral
    ],
)
def test_functions_worked_out_by_hand(nodes, count, gradient, jas, ig):
    """All clean values are 1; left rule of 20 steps. A mean over n + 1 points would give other numbers."""
    at, weights = Integral(nodes=nodes).points
    slope = float(weights @ gradient(at))
    before = (count - 1) * torch.ones(1, 1, dtype=torch.float64)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    assert with_jas(one, slope * one, before, slope * before).item() == pytest.approx(jas, rel=1e-14)
    assert with_ig(one, slope * one, slope * before[:, 0]).item() == pytest.approx(ig, rel=1e-14)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number of at least 1, got 0"),
        ({"steps": 2.5}, "steps: expected a whole number"),
        ({"nodes": True}, "nodes: expected a whole number"),
        ({"rule": "right"}, "unknown rule 'right'"),
        ({"others": "free"}, "others: unknown value 'free'"),
        ({"tokens": "cls"}, "tokens: unknown name 'cls'"),
    ],
)
def test_other_values_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Integral(**changes)
