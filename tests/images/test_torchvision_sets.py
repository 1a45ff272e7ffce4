"""Data sets of torchvision from files that the tests write; nothing is downloaded."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, content_hashes, open_source
from circuitstore.models import ViT


def opened(model: ViT, **options: object) -> ImageSource:
    return open_source({"kind": "torchvision", **options}, model)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder with MNIST's four files: seven images to train, three to test."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 7), ("t10k", 3)):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 2
        head = struct.pack(">4i", 0x803, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + labels.tobytes())
    return tmp_path


@pytest.mark.parametrize(("split", "count"), [("train", 7), ("test", 3), (None, 7)])
def test_images_without_files_are_identified_by_their_pixels(
    mnist: Path, digits_model: ViT, split: str | None, count: int
) -> None:
    from torchvision.datasets import MNIST

    theirs = MNIST(mnist, train=split != "test")
    options = {} if split is None else {"split": split}
    source = opened(digits_model, dataset="MNIST", root=mnist, classes={"0 - zero": 0, "1 - one": 1}, **options)
    assert source.name == "/".join(["MNIST", *options.values()])
    found = {ref.hash: cls.class_index for cls in source.classes for ref in source.candidates(cls)}
    pixels = [np.asarray(image.convert("RGB")) for image, _ in theirs]
    assert found == dict(zip(content_hashes("theirs", np.stack(pixels)), theirs.targets.tolist(), strict=True))
    assert len(found) == count
    ref = source.candidates(source.classes[1])[0]
    assert (np.array(source.image(ref)) == pixels[int(ref.origin.removeprefix("MNIST "))]).all()


def test_data_sets_of_files_are_read_like_folders(photos: Path, imagenet_model: ViT) -> None:
    source = opened(imagenet_model, dataset="ImageFolder", root=photos)
    folder = open_source({"folder": photos}, imagenet_model)
    for mine, theirs in zip(source.classes, folder.classes, strict=True):
        assert mine.name == theirs.name and source.candidates(mine) == folder.candidates(theirs)


def test_splits_by_name(photos: Path, tmp_path: Path, imagenet_model: ViT) -> None:
    shutil.copytree(photos, tmp_path / "country211" / "valid")
    source = opened(imagenet_model, dataset="Country211", root=tmp_path, split="valid")
    assert source.name == "Country211/valid" and len(source.classes) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "CIFAR1"}, "unknown data set of torchvision 'CIFAR1'; did you mean 'CIFAR10'"),
        ({"dataset": "MNIST"}, "torchvision's MNIST in .*not found.*; put its files there, or set download = true"),
        ({"dataset": "MNIST", "split": "valid"}, "MNIST: split: expected 'train' or 'test', got 'valid'"),
        ({"dataset": "ImageFolder", "split": "train"}, "ImageFolder: split: expected no split, got 'train'"),
        ({"dataset": "ImageFolder", "download": True}, "ImageFolder cannot be downloaded"),
        ({"dataset": "Country211", "split": "all"}, "torchvision's Country211 in .*all"),
        ({"dataset": 3}, "dataset: expected the name of its class, such as CIFAR10, got 3"),
    ],
)
def test_errors(tmp_path: Path, digits_model: ViT, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(digits_model, root=tmp_path, **options)
    assert not any(tmp_path.iterdir())


def test_data_sets_for_other_tasks(tmp_path: Path, digits_model: ViT) -> None:
    (tmp_path / "phototour").mkdir()
    with pytest.raises(InputError, match="torchvision's FakeData"):
        opened(digits_model, dataset="FakeData", root=tmp_path, split="train")
