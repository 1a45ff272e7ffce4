"""Tests of changed edges: designs, errors, calibration on scores of the demo model, and power on planted changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Discovery, EdgeScores, MethodUse, changed_edges, images_needed
from circuitstore.circuits.edge_changes import Correction
from circuitstore.circuits.permutation import paired_p_values, two_sample_p_values
from circuitstore.discovery import score_edges
from circuitstore.errors import InputError, NotComparable
from circuitstore.images import ImageSource, image_pairs
from circuitstore.models import ViT
from circuitstore.testing.factories import make_discovery, make_item
from scipy import stats

Scores = tuple[np.ndarray, np.ndarray]

NATURAL, ATTACKED = make_item(), make_item(attack="typographic")
N_EDGES = make_discovery().universe.n_edges


def of_images(scores: np.ndarray, images: list[str] | None = None, item=NATURAL) -> Discovery:
    """A discovery with these scores per image."""
    discovery = make_discovery(item=item, n_images=len(scores))
    names = discovery.images if images is None else tuple(images)
    return replace(discovery, scores=EdgeScores.from_images(discovery.universe, scores), images=names)


def noise(images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(images, N_EDGES)).astype(np.float32)


def test_common_images_are_paired_whatever_their_order() -> None:
    before, after = noise(18), noise(18) + noise(18, 1) / 9 + 0.1
    names = [f"image {i}" for i in range(18)]
    found = changed_edges(of_images(before, names), of_images(after, names, ATTACKED))
    assert (found.design, found.images, found.notes) == ("paired", (18, 18), ())
    order = np.random.default_rng(2).permutation(18)
    mixed = of_images(np.concatenate([noise(3, 5), after[order]]), ["x", "y", "z", *np.array(names)[order]], ATTACKED)
    again = changed_edges(of_images(before, names), mixed)
    for name in ("before", "after", "difference", "standardised", "low", "high", "p", "q"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.difference, (after - before).mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.standardised, found.difference / (after - before).std(axis=0, ddof=1), rtol=1e-4)
    assert ((found.low <= found.difference) & (found.difference <= found.high)).all()
    assert found.changed().mean() > 0.5 and (found.q >= found.p).all()
    frame = found.to_pandas()
    assert list(frame) == ["edge", "before", "after", "difference", "standardised", "low", "high", "p", "q"]
    assert frame["edge"][3] == found.universe.edge_names[3]


def test_other_images_are_two_samples_and_a_note_says_so() -> None:
    a, b = noise(18), noise(20, 1) + 2
    found = changed_edges(of_images(a), of_images(b, [f"other {i}" for i in range(20)]))
    assert (found.design, found.images) == ("two samples", (18, 20))
    assert found.notes == ("too few images are common to both sides: different images are tested as two samples",)
    np.testing.assert_allclose(found.difference, b.mean(axis=0) - a.mean(axis=0), rtol=1e-4)
    spread = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 2)
    np.testing.assert_allclose(found.standardised, found.difference / spread, rtol=1e-4)
    assert found.changed().all()
    shared = [*of_images(a).images[:4], *(f"other {i}" for i in range(16))]
    found = changed_edges(of_images(a), of_images(b, shared))
    assert (found.design, found.images) == ("two samples", (14, 16))


def test_swapping_the_sides_changes_only_the_sign() -> None:
    for images in (None, [f"other {i}" for i in range(18)]):
        a, b = of_images(noise(18)), of_images(noise(18, 1) + 0.5, images)
        one, other = changed_edges(a, b), changed_edges(b, a)
        np.testing.assert_allclose(one.difference, -other.difference)
        np.testing.assert_allclose(one.standardised, -other.standardised)
        np.testing.assert_allclose(one.p, other.p, atol=0.03)


def test_the_interval_covers_the_true_difference() -> None:
    """95 % intervals of 18 normal differences: about 92 %, as percentiles ignore the degrees of freedom."""
    for images in (None, [f"other {i}" for i in range(18)]):
        found = changed_edges(of_images(noise(18)), of_images(noise(18, 1) + 0.5, images))
        assert 0.88 < ((found.low <= 0.5) & (found.high >= 0.5)).mean() < 0.97


@pytest.mark.parametrize("n_edges", [20, 479, 32_491])
@pytest.mark.parametrize("correction", ["bh", "by"])
def test_the_images_needed_are_the_fewest(n_edges: int, correction: Correction) -> None:
    n = images_needed(n_edges, correction)
    tests = n_edges * (1 if correction == "bh" else sum(1 / i for i in range(1, n_edges + 1)))
    assert 2 / 2**n * tests <= 0.05 < 2 / 2 ** (n - 1) * tests


def test_too_few_images_raise_an_error_that_says_how_many_are_enough() -> None:
    needed = (
        "At least 12 common images, or 8 different ones on each side, are needed, and 15 common ones are enough for a "
        "single edge"
    )
    with pytest.raises(InputError, match=f"9 images are common to both sides, and 0 and 0 are not: too few .*{needed}"):
        changed_edges(of_images(noise(9)), of_images(noise(9, 1), item=ATTACKED))
    with pytest.raises(InputError, match=f"0 images are common to both sides, and 6 and 7 are not: .*{needed}"):
        changed_edges(of_images(noise(6)), of_images(noise(7), [f"other {i}" for i in range(7)]))


def test_a_note_says_how_many_edges_have_to_change_together() -> None:
    one, other = of_images(noise(12)), of_images(noise(12, 1), item=ATTACKED)
    assert changed_edges(one, other).notes == (
        "the least p-value that 12 and 12 images can give is 0.00049, so 5 of 479 edges have to reach it together to "
        "be called changed; 15 common images are enough for a single edge",
    )


def test_scores_without_images_and_other_meanings_raise_errors() -> None:
    a = of_images(noise(18))
    with pytest.raises(InputError, match="scores per image were not kept"):
        changed_edges(a, replace(a, scores=EdgeScores(a.universe, a.scores.mean)))
    with pytest.raises(InputError, match="gives no scores"):
        changed_edges(replace(a, scores=None), a)
    recipe = replace(a.item.recipe, method=MethodUse.of("eap"))
    with pytest.raises(NotComparable, match="method"):
        changed_edges(a, replace(a, item=replace(a.item, recipe=recipe)))
    with pytest.raises(NotComparable, match="universes differ"):
        changed_edges(a, make_discovery(item=make_item(n_layers=3), n_images=18))
    with pytest.raises(InputError, match="correction"):
        changed_edges(a, a, correction="holm")


def test_the_same_discovery_has_no_changed_edges() -> None:
    a = of_images(noise(18))
    found = changed_edges(a, a)
    assert (found.p == 1).all() and not found.changed().any() and np.isnan(found.standardised).all()


# --- calibration ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_digits(digits_model: ViT, digits: ImageSource) -> Scores:
    """Scores of the demo model on the same threes, natural and with a word."""
    chosen = [image_pairs(digits, digits_model, "three", 68, condition=c) for c in ("natural", "typographic")]
    scores = [score_edges(digits_model, pairs, "eap").per_image for pairs in chosen]
    return scores[0], scores[1]


REPETITIONS = 100


def discoveries(p: np.ndarray, correction: Correction = "bh") -> np.ndarray:
    return stats.false_discovery_control(p, method=correction) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("n", "power"), [(18, 0.6), (36, 0.9)])
def test_false_discoveries_are_as_rare_as_stated(on_digits: Scores, n: int, power: float) -> None:
    """Real differences, centred per edge except for a fifth of the edges, and drawn again with replacement.

    Images drawn without replacement from those that the differences are centred on would look far too good.
    """
    differences = on_digits[1] - on_digits[0]
    true_mean = differences.mean(axis=0, dtype=float)
    strongest = np.argsort(-np.abs(true_mean / (differences.std(axis=0) + 1e-12)))
    false_shares, strict, found = [], [], []
    for seed in range(REPETITIONS):
        rng = np.random.default_rng(seed)
        planted = rng.random(len(true_mean)) < 0.2
        sample = differences[rng.integers(0, len(differences), n)] - np.where(planted, 0.0, true_mean)
        p = paired_p_values(sample, seed=seed)
        called = discoveries(p)
        for shares, edges in ((false_shares, called), (strict, discoveries(p, "by"))):
            shares.append((edges & ~planted).sum() / max(1, edges.sum()))
        best = [e for e in strongest if planted[e]][: planted.sum() // 10]
        found.append(called[best].mean())
    assert np.mean(false_shares) <= 0.1 and np.mean(strict) <= 0.05
    assert np.mean(found) >= power


@pytest.mark.slow
@pytest.mark.parametrize("n", [18, 30])
def test_halves_of_the_same_images_rarely_differ(on_digits: Scores, n: int) -> None:
    """Two samples from the same images: p is uniform, and a discovery appears in few of the repetitions."""
    natural, small, any_discovery = on_digits[0], [], []
    for seed in range(REPETITIONS):
        order = np.random.default_rng(seed).permutation(len(natural))
        p = two_sample_p_values(natural[order[:n]], natural[order[n : 2 * n]], seed=seed)
        small.append((p <= 0.05).mean())
        any_discovery.append(discoveries(p).any())
    assert np.mean(any_discovery) <= 0.08
    assert np.mean(small) == pytest.approx(0.05, abs=0.015)


@pytest.mark.slow
def test_planted_changes_are_found_in_two_samples(on_digits: Scores) -> None:
    """A change of one standard deviation in a tenth of the edges, on halves of the same images."""
    natural, found, false = on_digits[0], [], []
    spread = natural.std(axis=0, ddof=1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        order, planted = rng.permutation(len(natural)), (rng.random(len(spread)) < 0.1) & (spread > 0)
        called = discoveries(
            two_sample_p_values(natural[order[:30]], natural[order[30:]] + planted * spread, seed=seed)
        )
        found.append(called[planted].mean())
        false.append((called & ~planted).sum() / max(1, called.sum()))
    assert np.mean(found) > 0.8 and np.mean(false) <= 0.1
