"""Clusters and dendrogram order of planted blocks of similar circuits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from circuitstore.circuits import clusters, dendrogram_order
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(0, 3), min_size=2, max_size=20), st.integers(0, 99))
def test_planted_blocks_are_clusters_and_stay_together(block: list[int], seed: int) -> None:
    of = np.array(block)
    noise = np.random.default_rng(seed).random((len(of), len(of))) / 10
    similarity = np.where(of[:, None] == of, 0.8, 0.2) + (noise + noise.T) / 2
    found = clusters(similarity, len(set(block)))
    assert {tuple(np.flatnonzero(found == c)) for c in set(found)} == {tuple(np.flatnonzero(of == b)) for b in set(of)}
    order = dendrogram_order(similarity)
    assert sorted(order) == list(range(len(of)))
    assert sum(of[a] != of[b] for a, b in pairwise(order)) == len(set(block)) - 1


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_circuits_have_one_order(n: int) -> None:
    assert dendrogram_order(np.ones((n, n))) == list(range(n))
    assert clusters(np.ones((n, n)), 3).tolist() == [1] * n


def test_an_undefined_similarity_counts_as_none() -> None:
    similarity = np.array([[1.0, np.nan, 0.9], [np.nan, 1.0, 0.5], [0.9, 0.5, 1.0]])
    assert clusters(similarity, 2).tolist() in ([1, 2, 1], [2, 1, 2])
