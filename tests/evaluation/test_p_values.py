"""p-values compared with published references, and on data with a known answer."""

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.evaluation.p_values import (
    beats_random,
    equivalence,
    equivalence_of_count,
    independence,
    minimality,
    partial_necessity,
    sufficiency,
)


@pytest.mark.parametrize(("higher", "p"), [(50, 1), (60, 0.543), (65, 0.179), (70, 0.0248), (75, 0.00119)])
def test_equivalence_at_a_hundred_images(higher, p):
    assert equivalence_of_count(higher, 100) == pytest.approx(p, rel=3e-3)


def test_equivalence_counts_the_images_on_which_the_circuit_is_higher():
    rng = np.random.default_rng(0)
    model = rng.normal(size=100)
    circuit = model + np.where(np.arange(100) < 70, 0.1, -0.1)
    assert equivalence(circuit, model) == equivalence_of_count(70, 100)
    with pytest.raises(InputError, match="same metric on 100 of 100"):
        equivalence(model, model)


def test_wins_over_random_circuits():
    assert beats_random(96, 100) == pytest.approx(0.0237, rel=3e-3)
    assert beats_random(95, 100) == pytest.approx(0.0576, rel=3e-3)
    losses = np.linspace(0, 1, 100)
    assert sufficiency(0.03, losses) == beats_random(97, 100)
    assert partial_necessity(0.97, losses) == beats_random(97, 100)
    assert partial_necessity(0.0, np.zeros(100)) == 1  # if nothing harms, nothing is necessary
    assert sufficiency(0.5, np.full(100, 0.5)) == 1  # a tie is not closer
    assert sufficiency(0.5, np.repeat([0.5, 0.6], [4, 96])) == beats_random(96, 100)


def test_losses_that_differ_by_rounding_are_ties():
    near = 0.5 + 1e-15 * np.array([1, -1] * 50)
    assert sufficiency(0.5, near, rounding=1e-14) == partial_necessity(0.5, near, rounding=1e-14) == 1
    assert sufficiency(0.5 - 1e-13, near, rounding=1e-14) == beats_random(100, 100)


def test_an_edge_that_matters_no_more_than_random_ones_is_not_needed():
    random_effects = np.arange(100.0)
    p = minimality(np.array([83.5, 84.5, 99.5]), random_effects)  # 84, 85 and 100 wins
    assert p[0] == pytest.approx(3 * 0.0399, rel=3e-3) and p[2] == 1


def test_independence_distinguishes_noise_from_figures_that_follow_the_model():
    rng = np.random.default_rng(1)
    model = rng.normal(size=60)
    assert independence(np.sin(model) + 0.1 * rng.normal(size=60), model) < 0.005
    p = [independence(rng.normal(size=40), rng.normal(size=40), permutations=100, seed=s) for s in range(60)]
    assert np.mean(np.array(p) <= 0.1) < 0.25 and np.mean(p) > 0.35
