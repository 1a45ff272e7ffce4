"""Measures of a change of neurons by hand, and their bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.evaluation.neurons.deviations import NeuronEffects
from hypothesis import given, settings
from hypothesis import strategies as st

MEASURES = ["probability", "pooled", "median", "logit", "accuracy", "balanced_accuracy"]


def of_probabilities(before, after, labels=None):
    """Return effects on two classes in which the label (by default class 1) has these probabilities."""
    before, after = np.array(before), np.array(after)
    labels = np.ones(len(before), int) if labels is None else np.array(labels)

    def logits(p):
        return np.log(np.where(labels[:, None] == [0, 1], p[:, None], 1 - p[:, None]))

    return NeuronEffects("by hand", labels, logits(before), logits(after))


def values(table):
    return table.to_pandas().set_index("measure")["value"]


@st.composite
def effects(draw, same=None):
    """Effects on one to nine images of three classes; `same` gives the labels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=1, max_size=9))) if same is None else same
    before, after = rng.normal(size=(2, len(labels), 3))
    return NeuronEffects("random", labels, before, after)


def test_measures_by_hand():
    found = of_probabilities([0.8, 0.5, 0.1, 0.6], [0.4, 0.6, 0.3, 0.6], labels=[1, 1, 0, 1])
    assert np.allclose(found.ratio, [0.5, 1.2, 3.0, 1.0])
    measured = values(found.summary())
    assert measured["probability"] == pytest.approx(5.7 / 4 - 1)
    assert measured["pooled"] == pytest.approx(1.9 / 2 - 1)
    assert measured["median"] == pytest.approx(0.1)
    assert measured["logit"] == pytest.approx(np.log([0.4 / 0.8, 0.6 / 0.5, 0.3 / 0.1, 1]).mean())


def test_accuracy_and_balanced_accuracy_by_hand():
    """Three images of class 1, of which one is lost, and one of class 0, which is won."""
    found = of_probabilities([0.8, 0.9, 0.7, 0.1], [0.3, 0.9, 0.7, 0.8], labels=[1, 1, 1, 0])
    assert found.gained.tolist() == [-1, 0, 0, 1]
    assert found.hit_before.tolist() == [True, True, True, False]
    table = found.summary()
    assert values(table)["accuracy"] == 0 and values(table)["balanced_accuracy"] == pytest.approx((1 - 1 / 3) / 2)
    assert table.facts["accuracy"] == 0.75 and table.facts["balanced_accuracy"] == pytest.approx(0.5)
    assert table.facts["images"] == 4 and table.facts["probability"] == pytest.approx(2.5 / 4)


def test_a_tiny_probability_has_a_ratio():
    """Softmax would give 0 / 0."""
    found = NeuronEffects("by hand", np.array([0]), np.array([[-2000.0, 0]]), np.array([[-1999.0, 0]]))
    assert found.ratio == pytest.approx(np.e) and found.probability_before == 0


@settings(max_examples=10)
@given(effects())
def test_measures_are_means_over_images(found):
    measured = values(found.summary())
    assert list(measured.index) == MEASURES
    assert measured["probability"] == pytest.approx(np.mean(found.ratio) - 1)
    assert measured["median"] == pytest.approx(np.median(found.ratio) - 1)
    assert measured["pooled"] == pytest.approx(found.probability_after.sum() / found.probability_before.sum() - 1)
    by_class = found.by_class().to_pandas()
    recall = by_class[by_class["measure"] == "accuracy"]
    assert measured["balanced_accuracy"] == pytest.approx(recall["value"].mean())
    assert measured["accuracy"] == pytest.approx(np.average(recall["value"], weights=recall["images"]))
    frame = found.to_pandas()
    assert np.allclose(frame["ratio"], frame["probability_after"] / frame["probability_before"])
    assert frame["hit_after"].mean() - frame["hit_before"].mean() == pytest.approx(measured["accuracy"])


@settings(max_examples=10)
@given(effects())
def test_every_class_is_measured_by_itself(found):
    rows = found.by_class().to_pandas()
    for cls in np.unique(found.labels):
        own = rows[rows["class"] == cls]
        part = found[found.labels == cls]
        expected = part.summary().to_pandas()
        assert (own["images"] == len(part)).all() and own["value"].tolist() == expected["value"].tolist()
        ends = own[["low", "high"]].to_numpy()
        assert np.isnan(ends).all() if len(part) == 1 else np.array_equal(ends, expected[["low", "high"]])


@settings(max_examples=10)
@given(st.data())
def test_differences_are_paired(data):
    one = data.draw(effects())
    two = data.draw(effects(same=one.labels))
    between, back = (a.difference(b) for a, b in ((one, two), (two, one)))
    assert np.allclose(values(between), values(one.summary()) - values(two.summary()))
    frame, other = between.to_pandas(), back.to_pandas()
    assert np.allclose(frame["low"], -other["high"]) and np.allclose(frame["high"], -other["low"])
    assert (frame["low"] <= frame["high"]).all()
    assert between.facts["lower"] + back.facts["lower"] == (one.ratio != two.ratio).mean()
    assert (one.difference(one).to_pandas()[["value", "low", "high"]] == 0).all(axis=None)


def test_samples_keep_the_number_of_images_of_each_class():
    """The ratio varies between the classes only, so no stratified sample differs."""
    found = of_probabilities([0.8] * 7, [0.4, 0.4, 0.4, 0.6, 0.6, 0.6, 0.6], labels=[0, 0, 0, 1, 1, 1, 1])
    rows = found.summary().to_pandas().set_index("measure")
    for name in ("probability", "pooled", "logit", "accuracy", "balanced_accuracy"):
        assert rows.loc[name, "low"] == pytest.approx(rows.loc[name, "value"])
        assert rows.loc[name, "high"] == pytest.approx(rows.loc[name, "value"])


def test_intervals_are_those_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.3, 0.7, 400)
    found = of_probabilities(before, np.clip(before * rng.normal(0.9, 0.1, 400), 0.01, 0.99))
    row = found.summary(seed=1).to_pandas().set_index("measure").loc["probability"]
    error = 1.96 * found.ratio.std() / 20
    assert row["high"] - row["value"] == pytest.approx(error, rel=0.15)
    assert row["value"] - row["low"] == pytest.approx(error, rel=0.15)
    assert found.summary(seed=1).to_pandas().equals(found.summary(seed=1).to_pandas())
    assert not found.summary(seed=1).to_pandas().equals(found.summary(seed=2).to_pandas())


def test_a_difference_has_a_smaller_interval_if_images_agree():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.5, 0.7, 60)
    noise = rng.normal(1, 0.2, 60)
    one, two = (of_probabilities(before, before * noise * by) for by in (0.6, 0.7))
    width = one.difference(two).to_pandas()["high"][0] - one.difference(two).to_pandas()["low"][0]
    own = one.summary().to_pandas()
    assert 0 < width < (own["high"][0] - own["low"][0]) / 2


def test_other_labels_raise():
    one, two = (of_probabilities([0.5, 0.5], [0.4, 0.3], labels) for labels in ([0, 1], [1, 1]))
    with pytest.raises(InputError, match="expected the same images in the same order"):
        one.difference(two)
