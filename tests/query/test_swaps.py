"""The swap floor: identities, symmetry, and its p-value with and without a change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import CircuitRecord, Discovery, EdgeScores, greedy
from circuitstore.query import swap_floor
from circuitstore.query.swaps import SWAPS
from circuitstore.testing.factories import make_discovery, make_item, make_record
from hypothesis import given, settings
from hypothesis import strategies as st

Answer = tuple[CircuitRecord, Discovery]
SMALL = {"n_layers": 2, "n_heads": 2}


def answer(per_image: np.ndarray, attack: str = "natural", size: int = 9, images: list[str] | None = None) -> Answer:
    """A circuit of these scores."""
    made = make_discovery(item=make_item(attack=attack, **SMALL), n_images=len(per_image))
    names = made.images if images is None else tuple(images)
    found = replace(made, scores=EdgeScores.from_images(made.universe, per_image), images=names)
    return make_record(found, size), found


def noise(images: int, seed: int) -> np.ndarray:
    edges = make_discovery(item=make_item(**SMALL)).universe.n_edges
    return np.random.default_rng(seed).normal(size=(images, edges)).astype(np.float32)


@pytest.mark.slow
def test_each_swap_extracts_both_circuits_again() -> None:
    natural, attacked = answer(noise(5, 0)), answer(noise(5, 1), "typographic")
    floor = swap_floor(natural, attacked)
    assert floor is not None and len(floor.swapped) == SWAPS
    first, second = noise(5, 0).astype(float), noise(5, 1).astype(float)
    possible = set()
    for bits in range(2**5):
        swapped = np.array([bits >> i & 1 for i in range(5)], bool)[:, None]
        sides = np.where(swapped, second, first), np.where(swapped, first, second)
        a, b = (greedy(EdgeScores.from_images(natural[1].universe, s.astype(np.float32)), 9) for s in sides)
        possible.add((a.members ^ b.members).sum() / 2)
        if bits == 0:
            assert floor.observed == (natural[0].circuit.members ^ attacked[0].circuit.members).sum() / 2
            assert floor.observed == (a.members ^ b.members).sum() / 2
    assert set(floor.swapped) <= possible
    assert floor.swapped.min() <= floor.mean <= floor.high <= floor.swapped.max()


def test_the_same_scores_change_nothing() -> None:
    floor = swap_floor(answer(noise(6, 0)), answer(noise(6, 0), "typographic"))
    assert floor is not None and floor.observed == floor.mean == floor.high == 0 and floor.p == 1


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(2, 9), st.integers(0, 99))
def test_the_order_of_images_and_of_sides_does_not_matter(n: int, seed: int) -> None:
    one, other = noise(n, seed), noise(n, seed + 1)
    names = [f"image {i}" for i in range(n)]
    plain = swap_floor(answer(one, images=names), answer(other, "typographic", images=names))
    back = swap_floor(answer(other, "typographic", images=names), answer(one, images=names))
    order = np.random.default_rng(seed).permutation(n)
    mixed = swap_floor(answer(one, images=names), answer(other[order], "typographic", images=[names[i] for i in order]))
    assert plain is not None and back is not None and mixed is not None
    assert plain.observed == back.observed == mixed.observed
    assert plain.swapped.tolist() == back.swapped.tolist() == mixed.swapped.tolist()


@pytest.mark.slow
def test_a_large_change_is_beyond_the_floor_and_noise_is_not() -> None:
    base = noise(18, 0)
    changed = base + noise(1, 7) * 3
    floor = swap_floor(answer(base), answer(changed, "typographic"))
    assert floor is not None and floor.observed > floor.high and floor.p == 1 / (1 + SWAPS)
    p = [swap_floor(answer(noise(18, s)), answer(noise(18, s + 50), "typographic")).p for s in range(20)]
    assert 0.25 < np.mean(p) < 0.85 and np.mean(np.array(p) <= 0.05) <= 0.2


def test_images_of_one_side_only_are_left_out() -> None:
    one, other = noise(6, 0), noise(6, 1)
    names = [f"image {i}" for i in range(7)]
    partly = swap_floor(answer(one, images=names[:6]), answer(other, "typographic", images=names[1:]))
    common = swap_floor(answer(one[1:], images=names[1:6]), answer(other[:5], "typographic", images=names[1:6]))
    assert partly is not None and common is not None
    assert (partly.observed, partly.swapped.tolist()) == (common.observed, common.swapped.tolist())


def test_it_is_unknown_without_common_images_or_scores_per_image() -> None:
    whole = answer(noise(4, 0))
    record, found = answer(noise(4, 1), "typographic")
    assert found.scores is not None
    mean = replace(found, scores=replace(found.scores, per_image=None))
    other = replace(found, images=(*found.images[:1], "x", "y", "z"))
    for discovery in (mean, other, replace(found, scores=None)):
        assert swap_floor(whole, (record, discovery)) is None
    larger = make_discovery(item=make_item(n_layers=3, n_heads=2))
    assert swap_floor(whole, (make_record(larger, 9), larger)) is None
    assert swap_floor(whole, (record, found)) is not None
