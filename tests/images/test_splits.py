"""Splits by content: exact shares, whatever the order or the names."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest
from circuitstore.images.digits import held_out, load_digits
from circuitstore.images.splits import SPLITS, assign_splits, quotas
from hypothesis import given
from hypothesis import strategies as st

HASHES = st.lists(st.binary().map(lambda b: hashlib.sha256(b).hexdigest()), unique=True)


@given(HASHES)
def test_shares_of_any_number_of_images(hashes: list[str]) -> None:
    counts = Counter(assign_splits(hashes).values())
    assert 0 <= counts["discovery"] - len(hashes) / 2 <= 0.5
    assert abs(counts["selection"] - len(hashes) / 4) < 1
    assert abs(counts["report"] - len(hashes) / 4) < 1


@given(HASHES, st.randoms())
def test_the_order_of_listing_does_not_matter(hashes: list[str], dice: random.Random) -> None:
    shuffled = dice.sample(hashes, len(hashes))
    assert assign_splits(shuffled + hashes) == assign_splits(hashes)


@given(st.integers(4, 10_000))
def test_quotas_add_up(per_class: int) -> None:
    sizes = quotas(per_class)
    assert sum(sizes.values()) == per_class
    assert sizes["selection"] == sizes["report"] == per_class // 4
    assert list(sizes) == list(SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_every_digit_class_has_enough_held_out_images_in_every_split(split: str) -> None:
    data = load_digits()
    for k in range(10):
        mine = [h for h, label in zip(data.hashes, data.labels, strict=True) if held_out(h) and label == k]
        assert Counter(assign_splits(mine).values())[split] >= (27 if split == "discovery" else 13)
