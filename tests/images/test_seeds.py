"""Seeded choices: within bounds, repeatable, uniform, and independent of a library's stream."""

from __future__ import annotations

import hashlib

import numpy as np
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


def test_draws_are_uniform() -> None:
    draws = Draws("even")
    counts = np.bincount([draws.below(4) for _ in range(4000)], minlength=4)
    assert (abs(counts - 1000) < 140).all()  # five standard deviations
    firsts = np.bincount([draws.permutation(4)[0] for _ in range(4000)], minlength=4)
    assert (abs(firsts - 1000) < 140).all()
