"""Seeded choices: within bounds, repeatable, uniform, and independent of a library's stream."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

import numpy as np
import pytest
from circuitstore.images.seeds import Draws, rank
from hypothesis import given
from hypothesis import strategies as st

PARTS = st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4)


def test_rank_is_a_plain_hash() -> None:
    assert rank("cycle", 0, "digits/one") == hashlib.sha256(b"cycle\x1f0\x1fdigits/one").hexdigest()


@given(PARTS, st.integers(1, 50))
def test_draws_repeat_and_keep_their_bounds(parts: list, n: int) -> None:
    first, again = Draws(*parts), Draws(*parts)
    numbers = [first.below(n) for _ in range(5)]
    assert numbers == [again.below(n) for _ in range(5)]
    assert all(0 <= x < n for x in numbers)
    order = first.permutation(n)
    assert order == again.permutation(n)
    assert sorted(order) == list(range(n))


@given(PARTS, st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_arrays_repeat_and_follow_from_the_parts(parts: list, shape: list[int]) -> None:
    first, again = Draws(*parts), Draws(*parts)
    signs, normal = first.signs(*shape), first.normal(*shape)
    assert np.array_equal(signs, again.signs(*shape)) and np.array_equal(normal, again.normal(*shape))
    assert signs.shape == normal.shape == tuple(shape) and set(signs.flat) <= {-1, 1}


def test_arrays_are_a_plain_hash() -> None:
    eight = hashlib.shake_256(b"a\x1f7\x1f1").digest(1)[0]
    assert Draws("a", 7).signs(8).tolist() == [2 * int(bit) - 1 for bit in f"{eight:08b}"]
    rank_ = int.from_bytes(hashlib.shake_256(b"a\x1f7\x1f1").digest(2), "little")
    assert Draws("a", 7).normal(1)[0] == pytest.approx(NormalDist().inv_cdf((rank_ + 0.5) / 65536), abs=1e-9)


def test_arrays_have_their_distribution() -> None:
    draws = Draws("even")
    assert abs(draws.signs(100, 400).mean()) < 5 / 200
    normal = draws.normal(100, 400)
    assert abs(normal.mean()) < 5 / 200 and abs((normal**2).mean() - 1) < 5 * 2**0.5 / 200
    assert np.abs(normal).max() < 4.4 and not np.array_equal(normal, draws.normal(100, 400))


def test_draws_are_uniform() -> None:
    draws = Draws("even")
    counts = np.bincount([draws.below(4) for _ in range(4000)], minlength=4)
    assert (abs(counts - 1000) < 140).all()  # five standard deviations
    firsts = np.bincount([draws.permutation(4)[0] for _ in range(4000)], minlength=4)
    assert (abs(firsts - 1000) < 140).all()
