"""The similarity matrix: noise floors of pairs, means of known values, and similarity above chance."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.query.measures import MEASURES
from circuitstore.query.similarity import Similarity, floors_of_pairs

NAN = float("nan")


def square(chance: np.ndarray, floors: np.ndarray) -> Similarity:
    values = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.4], [0.5, 0.4, 1.0]])
    return Similarity(("a", "b", "c"), MEASURES["node-jaccard"], values, chance, floors)


def test_each_pair_occurs_once_with_noise_floor_and_chance_level() -> None:
    chance = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.1], [0.1, 0.1, 1.0]])
    found = square(chance, floors_of_pairs(np.array([0.7, 0.5, 0.9])))
    assert found.pairs.to_dict("list") == {
        "a": ["a", "a", "b"],
        "b": ["b", "c", "c"],
        "node_jaccard": [0.9, 0.5, 0.4],
        "noise_floor": pytest.approx([0.6, 0.8, 0.7]),
        "chance": [0.8, 0.1, 0.1],
    }
    assert found.noise_floor == pytest.approx(0.7)
    assert found.chance_level == pytest.approx(1 / 3)


def test_pairs_are_sorted_by_similarity_above_chance() -> None:
    """Two large circuits share most edges by chance."""
    chance = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]])
    found = square(chance, np.full((3, 3), NAN)).above_chance
    assert found[["a", "b"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]  # 1/2, 4/9, 1/7
    chance[0, 1] = chance[1, 0] = 0.85
    found = square(chance, np.full((3, 3), NAN)).above_chance
    assert found[["a", "b"]].to_numpy().tolist() == [["a", "c"], ["a", "b"], ["b", "c"]]  # 4/9, 1/3, 1/7
    assert list(found.index) == [0, 1, 2]


def test_unknown_values_are_left_out_of_means() -> None:
    nothing = np.full((3, 3), NAN)
    assert square(nothing, nothing).noise_floor is square(nothing, nothing).chance_level is None
    assert square(nothing, floors_of_pairs(np.array([0.25, NAN, 0.75]))).noise_floor == 0.5


def test_the_floor_of_a_pair_is_the_mean_or_the_known_one() -> None:
    found = floors_of_pairs(np.array([0.25, 0.75, NAN]))
    assert found.tolist() == [[0.25, 0.5, 0.25], [0.5, 0.75, 0.75], [0.25, 0.75, pytest.approx(NAN, nan_ok=True)]]


def test_the_floor_of_two_forms_is_that_of_the_coarser_one() -> None:
    found = floors_of_pairs(np.array([0.25, 0.75, NAN]), [0, 1, 2])
    assert found.diagonal()[:2].tolist() == [0.25, 0.75]
    assert found[0, 1] == found[1, 0] == 0.75
    assert np.isnan([found[0, 2], found[2, 1], found[2, 2]]).all()
