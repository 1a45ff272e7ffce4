"""Example images of a run: what is stored, how often, and what a second call adds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import examples_id
from circuitstore.images import Predictions, changes_images, open_source
from circuitstore.ingest import dry_run, index, load_spec, make_plan, parse_spec
from circuitstore.ingest.examples import lacking_examples
from circuitstore.models import ViT
from circuitstore.store import Store, open_store
from PIL import Image

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


def test_the_next_item_of_the_same_images_replaces_a_failed_one(digits_model: ViT) -> None:
    plan = make_plan(parse_spec(SPEC), digits_model)
    items = [planned.item for planned in plan.items]
    (natural, first, second), others = items[:3], items[3:5]  # threes: natural, and two recipes under FGSM
    assert list(lacking_examples(plan, ())) == [natural, first, *others]
    assert list(lacking_examples(plan, (), {first.id})) == [natural, second, *others]
    assert list(lacking_examples(plan, (), {first.id, second.id})) == [natural, *others]
    for stored in (first, second):
        for failed in ((), {first.id}):
            assert list(lacking_examples(plan, {examples_id(stored, 2)}, failed)) == [natural, *others]
    assert list(lacking_examples(plan, {examples_id(second, 3)})) == [natural, first, *others]


@pytest.mark.slow
def test_a_failed_item_leaves_the_example_images_to_the_next_one(photos: Path, imagenet_model: ViT) -> None:
    """A mask of the first item marks all pixels; once it is repaired, nothing is added."""
    root, store = photos.parent, photos.parent / "store"
    (root / "masks" / "207").mkdir(parents=True)
    mask = Image.new("L", (90, 70))
    mask.paste(255, (30, 20, 60, 50))
    for path in (photos / "207").iterdir():
        mask.save(root / "masks" / "207" / f"{path.stem}.png")
    (root / "spec.toml").write_text(MASKED)
    odd = root / "masks" / "207" / "4.png"
    Image.new("L", (90, 70), 200).save(odd)
    done = index(load_spec(root / "spec.toml"), model=imagenet_model, location=store, progress=False)
    assert (done.done, len(done.failed)) == (1, 1)
    with open_store(store) as opened:
        before = opened.examples()
    assert len(before) == 1
    mask.save(odd)
    done = index(load_spec(root / "spec.toml"), model=imagenet_model, location=store, progress=False)
    assert (done.done, done.failed) == (1, {})
    with open_store(store) as opened:
        assert opened.examples().equals(before)


MASKED = """
name = "masked"
[images]
source = { folder = "photos/" }
masks = "masks/"
per_class = 8
choose = "all"
only = ["207"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
form = "block"
corruption = { kind = "inpaint", radius = 2 }
[[recipe]]
method = "eap"
form = "block"
corruption = "blur"
[[extract]]
edges = 4
"""


@pytest.mark.slow
def test_a_dry_run_counts_the_bytes_of_example_images_that_are_not_stored(
    folder: Path, digits_model: ViT, tmp_path: Path
) -> None:
    def megabytes(text: str, location: Path) -> float:
        return dry_run(parse_spec(text), model=digits_model, location=location).to_pandas()["megabytes"].sum()

    without = SPEC.replace("examples = 2", "examples = 0")
    pixels = 3 * 64 * 64 * 2 * (1 + 2) * 2  # two classes, two images, one view of the natural ones and two under FGSM
    assert megabytes(SPEC, tmp_path) - megabytes(without, tmp_path) == pytest.approx(pixels / 1e6, abs=0.02)
    assert megabytes(SPEC, folder) == 0
