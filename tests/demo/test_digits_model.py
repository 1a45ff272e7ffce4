"""The shipped weights perform as the demo claims, on held-out digits."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from circuitstore.circuits import ClassInfo
from circuitstore.images import CONDITIONS, WORDS, Predictions, open_source, predict, select_images, target_of
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import attack
from circuitstore.models import load_model
from safetensors.numpy import load

DEMO = files("circuitstore") / "demo"


@pytest.fixture(scope="module")
def model():
    return load_model("digits")


@pytest.fixture(scope="module")
def source(model):
    return open_source("digits", model)


def test_size_and_shape_of_the_model(model) -> None:
    weights = (DEMO / "digits_model.safetensors").read_bytes()
    assert len(weights) < 1_000_000
    assert sum(t.size for t in load(weights).values()) == sum(p.numel() for p in model.module.parameters())
    assert 217_000 < sum(p.numel() for p in model.module.parameters()) < 218_000
    assert (model.n_layers, model.n_heads, model.d_model, model.image_size) == (4, 4, 64, (64, 64))
    assert model.labels == WORDS


def test_the_toml_file_describes_the_model(model) -> None:
    facts = tomllib.loads((DEMO / "digits_model.toml").read_text())
    assert tuple(facts["labels"]) == model.labels
    assert tuple(facts["preprocess"]["size"]) == model.preprocess.size


REGIMES = {
    "one text": {},
    "one large text": {"size": 0.22},
    "several small texts": {"place": "scattered", "number": 4},
    "along the border": {"place": "border"},
}
SEEDS = (0, 1, 2)
"""Each gives every class another wrong word."""


def predictions(model, source, params: Mapping[str, Any], seed: int = 0) -> Iterator[tuple[ClassInfo, np.ndarray]]:
    """Yield each class with the predictions for all its held-out images under a typographic condition."""
    condition = CONDITIONS.resolve("typographic", params)
    for cls in source.classes:
        yield cls, predict(model, attack(condition, Batch(source, cls, source.candidates(cls), (), seed)))


def test_clean_accuracy(model, source) -> None:
    correct = [
        predict(model, Batch(source, cls, source.candidates(cls), (), 0).views) == cls.class_index
        for cls in source.classes
    ]
    assert sum(map(len, correct)) > 600
    assert np.concatenate(correct).mean() >= 0.93


@pytest.mark.parametrize("params", REGIMES.values(), ids=REGIMES)
def test_a_wrong_word_is_read_in_every_regime(model, source, params: dict) -> None:
    condition = CONDITIONS.resolve("typographic", params)
    turned = [
        read == target_of(condition, source, cls, seed)
        for seed in SEEDS
        for cls, read in predictions(model, source, params, seed)
    ]
    assert np.concatenate(turned).mean() >= 0.80


@pytest.mark.parametrize("params", REGIMES.values(), ids=REGIMES)
def test_the_right_word_does_no_harm(model, source, params: dict) -> None:
    found = predictions(model, source, {**params, "control": "own class"})
    assert np.concatenate([read == cls.class_index for cls, read in found]).mean() >= 0.95


@pytest.mark.parametrize(("regime", "accuracy"), list(zip(REGIMES, (0.80, 0.80, 0.35, 0.80), strict=True)))
def test_nonsense_words_do_less_harm(model, source, regime: str, accuracy: float) -> None:
    """Several nonsense words do most; a wrong word leaves at most 12 % in every regime."""
    correct = [
        read == cls.class_index
        for seed in SEEDS
        for cls, read in predictions(model, source, {**REGIMES[regime], "control": "nonsense"}, seed)
    ]
    assert np.concatenate(correct).mean() >= accuracy


def test_every_word_is_read(model, source) -> None:
    """88 % over all words, and 60 % for every single one; each word on all held-out digits of other classes."""
    turned = []
    for word, target in zip(WORDS, source.classes, strict=True):
        found = predictions(model, source, {"text": word})
        turned.append(np.concatenate([read == target.class_index for cls, read in found if cls != target]))
    assert np.concatenate(turned).mean() >= 0.88
    assert min(t.mean() for t in turned) >= 0.60


def test_the_demos_selection_is_complete_for_every_class(model, source) -> None:
    for cls in source.classes:
        selected = select_images(Predictions(source, model), cls, per_class=36)
        assert selected.warnings == ()
        assert [len(s) for s in (selected.discovery, selected.selection, selected.report)] == [18, 9, 9]


def test_the_attribution_names_authors_source_and_licence() -> None:
    text = (DEMO / "ATTRIBUTION.md").read_text()
    assert all(fact in text for fact in ("Alpaydin", "10.24432/C50P49", "CC BY 4.0", "Changed here"))
