"""The shipped weights perform as the demo claims, on held-out digits."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import numpy as np
import pytest
from circuitstore.images import CONDITIONS, WORDS, Predictions, open_source, predict, select_images
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
    assert 207_000 < sum(p.numel() for p in model.module.parameters()) < 209_000
    assert (model.n_layers, model.n_heads, model.d_model, model.image_size) == (4, 4, 64, (32, 32))
    assert model.labels == WORDS


def test_the_toml_file_describes_the_model(model) -> None:
    facts = tomllib.loads((DEMO / "digits_model.toml").read_text())
    assert tuple(facts["labels"]) == model.labels
    assert tuple(facts["preprocess"]["size"]) == model.preprocess.size


def test_clean_accuracy(model, source) -> None:
    correct = [
        predict(model, Batch(source, cls, source.candidates(cls), (), 0).views) == cls.class_index
        for cls in source.classes
    ]
    assert sum(map(len, correct)) > 600
    assert np.concatenate(correct).mean() >= 0.93


def test_a_wrong_word_turns_the_prediction(model, source) -> None:
    """88 % over all words, and 60 % for every single one; each word on all held-out digits of other classes."""
    turned = []
    for word, target in zip(WORDS, source.classes, strict=True):
        condition = CONDITIONS.resolve("typographic", {"text": word})
        others = [Batch(source, c, source.candidates(c), (), 0) for c in source.classes if c != target]
        turned.append(np.concatenate([predict(model, attack(condition, b)) == target.class_index for b in others]))
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
