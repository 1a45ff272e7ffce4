"""Shards of WebDataset: the same images as from a folder, and samples that are skipped."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import BadImage, ImageSource, open_source
from circuitstore.models import ViT


def write(shard: Path, files: dict[str, bytes], mode: str = "w") -> None:
    shard.parent.mkdir(exist_ok=True)
    with tarfile.open(shard, mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def shards(photos: Path) -> Path:
    """A folder of three shards with the photos, their classes in .cls and .json files."""
    samples: list[dict[str, bytes]] = []
    for i, path in enumerate(sorted(photos.rglob("*.*"))):
        key = f"part/{i:06}"
        label = path.parent.name
        fields = {"class": label, "light": 0.5 * (i % 2), "box": [1, 2]}
        labelled = {f"{key}.cls": label.encode()} if i % 3 else {f"{key}.json": json.dumps(fields).encode()}
        samples.append({f"{key}{path.suffix.upper()}": path.read_bytes(), **labelled})
    for shard in range(3):
        files = {name: data for sample in samples[shard::3] for name, data in sample.items()}
        write(photos.parent / "shards" / f"train-{shard}.tar", files)
    return photos.parent / "shards"


def opened(path: Path, model: ViT, **options: object) -> ImageSource:
    return open_source({"kind": "webdataset", "path": path, **options}, model)


def content(source: ImageSource) -> dict[int, list[str]]:
    return {cls.class_index: [ref.hash for ref in source.candidates(cls)] for cls in source.classes}


def test_shards_give_the_images_of_the_folder(shards: Path, photos: Path, imagenet_model: ViT) -> None:
    folder = open_source({"folder": photos}, imagenet_model)
    for path in (shards, shards / "train-*.tar"):
        source = opened(path, imagenet_model)
        assert source.name == "shards" and source.skipped == ()
        assert content(source) == content(folder)
    by_hash = {ref.hash: ref for cls in folder.classes for ref in folder.candidates(cls)}
    for ref in source.candidates(source.classes[0]):
        assert (source.view(ref) == folder.view(by_hash[ref.hash])).all()
    assert set(source.column("light").values()) == {"0.0", "0.5"}


def test_one_shard(shards: Path, imagenet_model: ViT) -> None:
    assert sum(map(len, content(opened(shards / "train-1.tar", imagenet_model)).values())) == 10


def test_samples_that_cannot_be_used_are_skipped(tmp_path: Path, photo, imagenet_model: ViT) -> None:
    buffer = io.BytesIO()
    photo(3).save(buffer, "PNG")
    png = buffer.getvalue()
    files = {
        "good.png": png,
        "good.cls": b"281\n",
        "copy.png": png,
        "copy.cls": b"281",
        "nothing.cls": b"281",
        "two.png": png,
        "two.jpg": png,
        "two.cls": b"281",
        "unlabelled.png": png,
        "unnamed.png": png,
        "unnamed.json": b'{"label": "281"}',
        "list.png": png,
        "list.json": b"[1]",
        "broken.png": png,
        "broken.json": b"{",
        "empty.png": b"",
        "empty.cls": b"281",
        "text.png": b"text",
        "text.cls": b"281",
    }
    write(tmp_path / "a.tar", files)
    source = opened(tmp_path, imagenet_model)
    found = {s.path.removeprefix("a.tar/"): s.reason for s in source.skipped}
    assert content(source).keys() == {281} and len(source.candidates(source.classes[0])) == 1
    assert found.pop("text.png").startswith("not an image of a known format")
    assert found.pop("broken").startswith("its .json cannot be read as a table of values: Expecting")
    assert found == {
        "copy.png": "same content as a.tar/good.png, counted once",
        "nothing": "no images in the sample, expected one",
        "two": "2 images in the sample, expected one",
        "unlabelled": "no class: expected a file .cls, or 'class' in a file .json",
        "unnamed": "no class: expected a file .cls, or 'class' in a file .json",
        "list": "its .json cannot be read as a table of values: got list",
        "empty.png": "empty file",
    }
    assert "unnamed" not in {s.path for s in opened(tmp_path, imagenet_model, class_field="label").skipped}


@pytest.mark.parametrize("mode", ["w:gz", None])
def test_files_that_are_no_uncompressed_tar(tmp_path: Path, imagenet_model: ViT, mode: str | None) -> None:
    if mode:
        write(tmp_path / "a.tar", {"a.cls": b"1"}, mode)
    else:
        (tmp_path / "a.tar").write_bytes(b"text" * 300)
    with pytest.raises(InputError, match=r"a\.tar: cannot be read as an uncompressed tar file"):
        opened(tmp_path, imagenet_model)


def test_no_shards(tmp_path: Path, imagenet_model: ViT) -> None:
    for path in (tmp_path, tmp_path / "train-*.tar", tmp_path / "gone" / "a.tar"):
        with pytest.raises(InputError, match=r"no such tar files; expected a folder of \.tar files"):
            opened(path, imagenet_model)


def test_a_shard_that_changes_raises(shards: Path, imagenet_model: ViT) -> None:
    source = opened(shards, imagenet_model)
    ref = next(r for cls in source.classes for r in source.candidates(cls) if r.origin.startswith("train-0.tar/"))
    (shards / "train-0.tar").write_bytes((shards / "train-1.tar").read_bytes()[:600])
    with pytest.raises(BadImage, match=r"train-0\.tar/.*: its content has changed"):
        source.view(ref)
    (shards / "train-0.tar").unlink()
    with pytest.raises(BadImage, match=r"train-0\.tar/.*: cannot be read"):
        source.view(ref)
