"""The cache of content hashes: what it saves, when it is not used, and that it never gives an outdated hash."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, open_source
from circuitstore.images.hashes import Identity, Stamp, cache_file, forget_hash, read_hashes, write_hashes
from circuitstore.images.listing import FileImage, identify_all
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

LONG_AGO = 10**18
"""A time in 2001, in nanoseconds."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an empty cache."""
    monkeypatch.setenv("CIRCUITSTORE_CACHE", str(tmp_path / "cache"))
    file = cache_file()
    assert file is not None and not file.exists()
    return file


def age(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        os.utime(path, ns=(LONG_AGO, LONG_AGO))


def opened(folder: Path, model: ViT) -> tuple[ImageSource, int]:
    """Open a folder; return the source and the number of files that were read."""
    read: list[object] = []

    def count(images: Sequence[object]) -> Sequence[object]:
        read.extend(images)
        return images

    return open_source({"folder": folder}, model, progress=count), len(read)


def hashes(source: ImageSource) -> set[str]:
    return {ref.hash for cls in source.classes for ref in source.candidates(cls)}


def test_unchanged_files_are_read_once(photos: Path, imagenet_model: ViT, cache: Path) -> None:
    age(photos)
    first, read = opened(photos, imagenet_model)
    again, read_again = opened(photos, imagenet_model)
    assert (read, read_again) == (30, 0) and cache.exists()
    assert hashes(first) == hashes(again) == {hashlib.sha256(p.read_bytes()).hexdigest() for p in photos.rglob("*.*")}


def test_only_a_changed_file_is_read_again(photos: Path, imagenet_model: ViT, photo, cache: Path) -> None:
    age(photos)
    opened(photos, imagenet_model)
    photo(99).save(photos / "207" / "0.jpg")
    source, read = opened(photos, imagenet_model)
    assert read == 1
    assert hashlib.sha256((photos / "207" / "0.jpg").read_bytes()).hexdigest() in hashes(source)


def test_a_file_that_was_just_written_is_not_cached(photos: Path, imagenet_model: ViT, cache: Path) -> None:
    age(photos)
    path = photos / "207" / "0.jpg"
    os.utime(path, ns=(time.time_ns(), time.time_ns()))
    opened(photos, imagenet_model)
    assert opened(photos, imagenet_model)[1] == 1


def test_a_change_that_keeps_size_and_time_raises_once(photos: Path, imagenet_model: ViT, cache: Path) -> None:
    path = photos / "207" / "0.bmp"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    age(photos)
    opened(photos, imagenet_model)
    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(path)
    age(photos)
    source, _ = opened(photos, imagenet_model)
    ref = next(r for r in source.candidates(source.class_named("207")) if r.origin == "207/0.bmp")
    with pytest.raises(InputError, match="has changed since the images were listed; run again"):
        source.view(ref)
    source, read = opened(photos, imagenet_model)
    assert read == 1
    ref = next(r for r in source.candidates(source.class_named("207")) if r.origin == "207/0.bmp")
    assert (np.array(source.image(ref)) == 9).all()


def test_notices_are_kept_and_bad_files_are_not(photos: Path, imagenet_model: ViT, photo, cache: Path) -> None:
    photo(1).save(photos / "207" / "a.gif", save_all=True, append_images=[photo(2)])
    (photos / "207" / "empty.jpg").touch()
    age(photos)
    first, _ = opened(photos, imagenet_model)
    again, read = opened(photos, imagenet_model)
    assert read == 1 and first.notices == again.notices and len(again.notices) == 2


@pytest.mark.parametrize(
    "content", [b"this is not a database, but it is long enough to be a page" * 100, b"", b"SQLite"]
)
def test_a_damaged_cache_is_replaced(photos: Path, imagenet_model: ViT, cache: Path, content: bytes) -> None:
    age(photos)
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert len(hashes(opened(photos, imagenet_model)[0])) == 30
    opened(photos, imagenet_model)
    assert opened(photos, imagenet_model)[1] == 0


def test_a_cache_with_a_damaged_page_is_replaced(photos: Path, imagenet_model: ViT, cache: Path) -> None:
    age(photos)
    opened(photos, imagenet_model)
    data = bytearray(cache.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    cache.write_bytes(data)
    for _ in range(2):
        assert len(hashes(opened(photos, imagenet_model)[0])) == 30
    assert opened(photos, imagenet_model)[1] == 0


def test_off_and_a_folder_that_cannot_be_made(
    photos: Path, imagenet_model: ViT, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    age(photos)
    monkeypatch.setenv("CIRCUITSTORE_CACHE", "off")
    assert [opened(photos, imagenet_model)[1] for _ in range(2)] == [30, 30] and not cache.parent.exists()
    (photos.parent / "file").touch()
    monkeypatch.setenv("CIRCUITSTORE_CACHE", str(photos.parent / "file"))
    assert opened(photos, imagenet_model)[1] == 30
    assert "the cache of content hashes is not used" in caplog.text


def test_without_the_variable_the_cache_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIRCUITSTORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    file = cache_file()
    assert file is not None and "circuitstore" in file.parts
    if sys.platform == "linux":
        assert file.parent == Path("/somewhere/circuitstore")


def test_interrupted_hashing_keeps_what_was_read(photos: Path, cache: Path) -> None:
    age(photos)
    images = [FileImage(origin=str(path), path=path) for path in sorted(photos.rglob("*.*"))]

    def interrupted(indices: Sequence[int]):
        yield from indices[:7]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        identify_all(images, interrupted)
    assert len(read_hashes([image.stamp() for image in images])) == 7


WRITER = """
import sys
from circuitstore.images.hashes import Identity, Stamp, write_hashes
for i in range(40):
    write_hashes({Stamp(f"{sys.argv[1]}/{i}/{k}", k, 7): Identity(f"{i}-{k}") for k in range(20)})
"""


@pytest.mark.slow
def test_processes_may_write_together(cache: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    stamps = [Stamp(f"{name}/{i}/{k}", k, 7) for name in "ab" for i in range(40) for k in range(20)]
    assert len(read_hashes(stamps)) == len(stamps)


STAMPS = st.builds(Stamp, st.sampled_from(["a", "b", "ü\n"]), st.integers(0, 3), st.integers(0, 3))


@given(st.lists(st.tuples(STAMPS, st.text("0123456789abcdef", min_size=1), st.none() | st.text())))
def test_the_cache_is_a_mapping_of_the_latest_stamps(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[Stamp, str, str | None]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCUITSTORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        latest: dict[str, tuple[Stamp, Identity]] = {}
        for stamp, hash_, notice in entries:
            write_hashes({stamp: Identity(hash_, notice)})
            latest[stamp.path] = stamp, Identity(hash_, notice)
        every = [Stamp(path, size, time_ns) for path in "ab" for size in range(4) for time_ns in range(4)]
        every += [stamp for stamp, _, _ in entries]
        assert read_hashes(every) == dict(latest.values())
        for stamp, _ in latest.values():
            forget_hash(stamp)
        assert read_hashes(every) == {}
