"""Splits by content: right shares, and a function of the hash alone."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from circuitstore.images.digits import held_out, load_digits
from circuitstore.images.splits import SPLITS, quotas, split_of
from hypothesis import given
from hypothesis import strategies as st

HASHES = st.binary().map(lambda b: hashlib.sha256(b).hexdigest())


@given(HASHES)
def test_the_first_two_bits_of_the_hash_decide(hash_: str) -> None:
    quarter = int(hash_[0], 16) // 4
    assert split_of(hash_) == ("discovery", "discovery", "selection", "report")[quarter]


def test_shares() -> None:
    counts = Counter(split_of(hashlib.sha256(str(i).encode()).hexdigest()) for i in range(4000))
    assert abs(counts["discovery"] - 2000) < 160
    assert abs(counts["selection"] - 1000) < 140
    assert abs(counts["report"] - 1000) < 140


@given(st.integers(4, 10_000))
def test_quotas_add_up(per_class: int) -> None:
    wanted = quotas(per_class)
    assert sum(wanted.values()) == per_class
    assert wanted["selection"] == wanted["report"] == per_class // 4
    assert list(wanted) == list(SPLITS)


def test_holding_out_is_independent_of_the_split() -> None:
    """Held-out digits fall into the splits as 2 : 1 : 1, within five standard deviations."""
    counts = Counter(split_of(h) for h in load_digits().hashes if held_out(h))
    total = counts.total()
    assert abs(counts["discovery"] - total / 2) < 5 * (total / 4) ** 0.5
    assert abs(counts["report"] - total / 4) < 5 * (total * 3 / 16) ** 0.5


@pytest.mark.parametrize("split", SPLITS)
def test_every_digit_class_has_enough_held_out_images_in_every_split(split: str) -> None:
    data = load_digits()
    counts = Counter(
        int(k) for h, k in zip(data.hashes, data.labels, strict=True) if held_out(h) and split_of(h) == split
    )
    assert min(counts[k] for k in range(10)) >= (27 if split == "discovery" else 11)
