"""Example images of a run: what is stored, how often, and what a second call adds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from circuitstore.images import Predictions, changes_images, open_source
from circuitstore.ingest import index, parse_spec
from circuitstore.models import ViT
from circuitstore.store import Store, open_store

SPEC = """
name = "two"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 8
examples = 2
[[condition]]
kind = "natural"
[[condition]]
kind = "fgsm"
eps = "8/255"
[[recipe]]
method = "eap"
form = "block"
corruption = "blur"
[[recipe]]
method = "eap"
form = "block"
corruption = "unattacked-twin"
metric = "logit-diff"
conditions = ["fgsm"]
[[extract]]
edges = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits_model: ViT) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    index(parse_spec(SPEC), model=digits_model, location=folder, progress=False)
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as opened:
        yield opened


@pytest.mark.slow
def test_each_class_and_condition_has_its_images_once(store: Store) -> None:
    listed = store.examples("two")
    assert listed[["class", "attack", "n_images"]].values.tolist() == [
        [cls, attack, 2] for cls in ("three", "eight") for attack in ("fgsm", "natural")
    ]


@pytest.mark.slow
def test_the_images_are_what_the_model_sees(store: Store, digits_model: ViT) -> None:
    predictions = Predictions(open_source("digits", digits_model), digits_model)
    for id in store.examples()["id"]:
        images = store.example_images(id)
        cls, condition = images.target_class, images.condition
        by_hash = {ref.hash: ref for ref in predictions.source.candidates(cls)}
        refs = [by_hash[example.hash] for example in images.examples]
        assert [predictions.source.split_of(ref) for ref in refs] == ["report"] * 2
        for i, example in enumerate(images.examples):
            assert np.array_equal(example.clean.pixels, predictions.views(cls, refs)[i])
            assert example.clean.predicted == cls.name  # only images that the model classifies correctly are chosen
            assert 0 < example.clean.probability <= 1
            assert (example.attacked is None) == (not changes_images(condition)) == (images.checks == {})
            if example.attacked is not None:
                assert np.array_equal(example.attacked.pixels, predictions.views(cls, refs, condition)[i])
                index_of = predictions.of(cls, refs, condition)[i]
                assert example.attacked.predicted == predictions.source.name_of(int(index_of))
                assert example.linf == pytest.approx(8 / 255)
        if changes_images(condition):
            assert images.checks["images"] == 4 and 0 <= images.checks["success"] <= 1


@pytest.mark.slow
def test_a_second_call_stores_only_what_is_missing(folder: Path, digits_model: ViT) -> None:
    with open_store(folder) as store:
        before = store.examples()
        store.archive.path("example", before["id"][1]).unlink()
    index(parse_spec(SPEC), model=digits_model, location=folder, progress=False)
    with open_store(folder) as store:
        after = store.examples()
        assert after.drop(columns="created_ms").equals(before.drop(columns="created_ms"))
        assert (after["created_ms"] != before["created_ms"]).tolist() == [False, True, False, False]
        assert len(store.verify()) == 0
    other = parse_spec(SPEC.replace("examples = 2", "examples = 0").replace('"two"', '"none"'))
    index(other, model=digits_model, location=folder, progress=False)
    with open_store(folder) as store:
        assert len(store.examples()) == len(after)
