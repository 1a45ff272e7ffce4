"""Data sets of Hugging Face from folders that the tests write; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, open_source
from circuitstore.models import ViT


@pytest.fixture
def saved(photos: Path) -> Path:
    """A folder that save_to_disk wrote, with two splits."""
    names = sorted(folder.name for folder in photos.iterdir())
    files = sorted(photos.rglob("*.*"))
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=names),
            "place": datasets.Value("string"),
            "box": datasets.List(datasets.Value("int64")),
        }
    )
    rows = [
        {
            "image": {"bytes": path.read_bytes(), "path": None},
            "label": names.index(path.parent.name),
            "place": ("land", "water")[i % 2],
            "box": [i],
        }
        for i, path in enumerate(files)
    ]
    parts = {"train": rows[::2], "test": rows[1::2]}
    made = {name: datasets.Dataset.from_list(part, features=features) for name, part in parts.items()}
    datasets.DatasetDict(made).save_to_disk(photos.parent / "saved")
    return photos.parent / "saved"


def opened(model: ViT, **options: object) -> ImageSource:
    return open_source({"kind": "hub", **options}, model)


def hashes(source: ImageSource) -> dict[int, set[str]]:
    return {cls.class_index: {ref.hash for ref in source.candidates(cls)} for cls in source.classes}


@pytest.mark.slow
def test_a_saved_data_set_gives_the_images_of_the_folder(saved: Path, photos: Path, imagenet_model: ViT) -> None:
    folder = open_source({"folder": photos}, imagenet_model)
    parts = [opened(imagenet_model, folder=saved, split=split) for split in ("train", "test")]
    assert [part.name for part in parts] == ["saved/train", "saved/test"]
    for index, of_folder in hashes(folder).items():
        assert set().union(*(hashes(part)[index] for part in parts)) == of_folder
    views = {ref.hash: folder.view(ref) for cls in folder.classes for ref in folder.candidates(cls)}
    for ref in parts[0].candidates(parts[0].classes[1]):
        assert np.array_equal(parts[0].view(ref), views[ref.hash])
    assert set(parts[0].column("place").values()) == {"land"}
    with pytest.raises(InputError, match="no column 'box'; its columns are: place"):
        parts[0].column("box")


@pytest.mark.slow
def test_errors(saved: Path, imagenet_model: ViT) -> None:
    for options, message in [
        ({"folder": saved}, "saved: split: expected train, test, got None"),
        ({"folder": saved, "split": "valid"}, "split: expected train, test, got 'valid'"),
        ({"folder": saved / "train", "split": "train"}, "split: expected no split, got 'train'"),
        ({"folder": saved / "gone"}, "gone cannot be loaded: "),
        ({"folder": saved / "train", "image_column": "box", "class_column": "place"}, "the column .box. has no images"),
        ({"folder": saved / "train", "class_column": "y"}, "'y' is missing; set class_column to one of: image, label"),
        ({"folder": saved / "train", "image_column": "x"}, "the column 'x' is missing; set image_column to one of"),
    ]:
        with pytest.raises(InputError, match=message):
            opened(imagenet_model, **options)


def test_a_name_on_the_hub_needs_permission(imagenet_model: ViT) -> None:
    with pytest.raises(InputError, match="'mnist' is a name on the hub, which needs the network; set download = true"):
        opened(imagenet_model, dataset="mnist")
    with pytest.raises(InputError, match="expected either folder, or dataset with download = true"):
        opened(imagenet_model)
