"""A folder of real files: images that are found, files that are skipped, and notices for them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import BadImage, ImageSource, open_source
from circuitstore.models import ViT
from PIL import Image
from timm.data import create_transform, resolve_model_data_config


def opened(folder: Path, model: ViT, classes: dict[str, int] | None = None) -> ImageSource:
    return open_source({"folder": folder, "classes": classes}, model)


def reasons(source: ImageSource) -> dict[str, str]:
    return {s.path: s.reason for s in source.skipped}


def test_three_ways_to_name_a_class(photos: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model)
    assert source.name == "photos"
    assert [(c.name, c.class_index, source.word(c)) for c in source.classes] == [
        ("207", 207, "golden retriever"),
        ("n02123045", 281, "tabby"),
        ("Tiger cat", 282, "Tiger cat"),
    ]
    assert all(len(source.candidates(c)) == 10 for c in source.classes)
    assert source.skipped == () and source.notices == ()


def test_images_are_identified_by_their_bytes(photos: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model)
    for ref in source.candidates(source.class_named("207")):
        assert ref.hash == hashlib.sha256((photos / ref.origin).read_bytes()).hexdigest()


def test_names_and_order_of_files_do_not_matter(photos: Path, imagenet_model: ViT, tmp_path: Path) -> None:
    moved = tmp_path / "other" / "photos"
    shutil.copytree(photos, moved)
    for i, path in enumerate(sorted((moved / "207").iterdir(), reverse=True)):
        path.rename(path.with_name(f"renamed-{i}"))
    before, after = opened(photos, imagenet_model), opened(moved, imagenet_model)
    for a, b in zip(before.classes, after.classes, strict=True):
        assert a == b
        assert [r.hash for r in before.candidates(a)] == [r.hash for r in after.candidates(b)]


def test_views_equal_timms_own_transform(photos: Path, imagenet_model: ViT) -> None:
    transform = create_transform(**resolve_model_data_config(imagenet_model.module) | {"input_size": (3, 64, 64)})
    source = opened(photos, imagenet_model)
    for cls in source.classes:
        for ref in source.candidates(cls)[:4]:
            theirs = transform(Image.open(photos / ref.origin).convert("RGB"))
            ours = imagenet_model.preprocess.normalise(np.stack([source.view(ref)]))[0]
            assert np.allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=1e-6)  # pyright: ignore[reportAttributeAccessIssue]


def test_skipped_files_are_reported(photos: Path, imagenet_model: ViT, photo, tmp_path: Path) -> None:
    folder = photos / "207"
    (photos / "readme.txt").write_text("hello")
    (photos / ".cache").mkdir()
    (folder / ".DS_Store").write_text("x")
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.jpg").touch()
    (folder / "more").mkdir()
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (folder / "copy.jpg").write_bytes((folder / "0.jpg").read_bytes())
    Image.new("L", (1, 10_000)).save(folder / "strip.png")
    source = opened(photos, imagenet_model)
    found = reasons(source)
    assert found.pop("207/notes.txt").startswith("not an image of a known format")
    assert found.pop("207/strip.png").startswith("1 × 10000 pixels")
    assert found == {
        "readme.txt": "not in a class folder",
        ".cache": "hidden",
        "207/.DS_Store": "hidden",
        "207/empty.jpg": "empty file",
        "207/more": "folder inside a class folder; nested = true uses its images",
        "207/gone.jpg": "broken link",
        "207/copy.jpg": "same content as 207/0.jpg, counted once",
    }
    assert len(source.candidates(source.class_named("207"))) == 10
    notices = " ".join(source.notices)
    assert all(path in notices for path in (*found, "207/notes.txt", "207/strip.png"))


def test_files_skipped_for_one_reason_share_a_notice(photos: Path, imagenet_model: ViT) -> None:
    for i in range(12):
        (photos / "207" / f"empty-{i:02}.jpg").touch()
    source = opened(photos, imagenet_model)
    assert len(source.skipped) == 12
    assert len(source.notices) == 1 and "and 7 more: empty file" in source.notices[0]


def test_the_same_picture_in_two_classes_counts_once(photos: Path, imagenet_model: ViT) -> None:
    shutil.copy(photos / "207" / "0.jpg", photos / "n02123045" / "dog.jpg")
    source = opened(photos, imagenet_model)
    assert reasons(source) == {"n02123045/dog.jpg": "same content as 207/0.jpg, counted once"}
    assert len(source.candidates(source.class_named("n02123045"))) == 10


def test_an_animation_is_used_with_a_notice(photos: Path, imagenet_model: ViT, photo) -> None:
    photo(1).save(photos / "207" / "a.gif", save_all=True, append_images=[photo(2)])
    source = opened(photos, imagenet_model)
    assert source.notices == ("207/a.gif: 2 frames, only the first is used",)
    assert len(source.candidates(source.class_named("207"))) == 11


def test_links_to_images_and_folders_are_followed(photos: Path, imagenet_model: ViT, tmp_path: Path) -> None:
    shutil.move(photos / "207", tmp_path / "dogs")
    (photos / "207").symlink_to(tmp_path / "dogs")
    shutil.move(tmp_path / "dogs" / "0.jpg", tmp_path / "zero.jpg")
    (tmp_path / "dogs" / "0.jpg").symlink_to(tmp_path / "zero.jpg")
    source = opened(photos, imagenet_model)
    assert len(source.candidates(source.class_named("207"))) == 10


def test_a_class_without_images_is_skipped_and_reported(photos: Path, imagenet_model: ViT) -> None:
    (photos / "tench").mkdir()
    source = opened(photos, imagenet_model)
    assert reasons(source) == {"tench": "class folder without a usable image"}
    assert 0 not in {c.class_index for c in source.classes}


def test_no_usable_image_at_all(tmp_path: Path, imagenet_model: ViT) -> None:
    (tmp_path / "tench").mkdir()
    (tmp_path / "tench" / "a.jpg").touch()
    with pytest.raises(InputError, match=r"no class has a usable image \(tench/a\.jpg: empty file"):
        opened(tmp_path, imagenet_model)


def test_no_class_folder_no_folder(tmp_path: Path, imagenet_model: ViT, photo) -> None:
    photo().save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="expected one folder of images per class"):
        opened(tmp_path, imagenet_model)
    for path in (tmp_path / "absent", tmp_path / "a.jpg"):
        with pytest.raises(InputError, match="not a readable folder"):
            opened(path, imagenet_model)


def test_a_folder_that_is_not_a_label_raises(photos: Path, imagenet_model: ViT) -> None:
    (photos / "taby").mkdir()
    with pytest.raises(InputError, match=r"photos: folder names .*'taby' is not a class \(did you mean 'tabby'"):
        opened(photos, imagenet_model)


def test_table_of_classes(photos: Path, imagenet_model: ViT) -> None:
    (photos / "taby").mkdir()
    source = opened(photos, imagenet_model, {"207": 3, "Tiger cat": 1})
    assert [(c.name, c.class_index) for c in source.classes] == [("Tiger cat", 1), ("207", 3)]
    assert reasons(source) == {"n02123045": "not in the table of classes", "taby": "not in the table of classes"}


def test_the_error_for_an_unknown_class_suggests_one(photos: Path, imagenet_model: ViT) -> None:
    with pytest.raises(InputError, match="did you mean 'Tiger cat'"):
        opened(photos, imagenet_model).class_named("tigercat")


def test_a_truncated_picture_is_a_candidate_until_it_is_decoded(photos: Path, imagenet_model: ViT) -> None:
    path = photos / "207" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    source = opened(photos, imagenet_model)
    bad = next(r for r in source.candidates(source.class_named("207")) if r.origin == "207/0.jpg")
    with pytest.raises(BadImage, match=r"207/0\.jpg: cannot be decoded"):
        source.view(bad)


def test_a_file_that_changes_or_disappears_raises(photos: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model)
    refs = {r.origin: r for r in source.candidates(source.class_named("207"))}
    shutil.copy(photos / "207" / "2.jpg", photos / "207" / "0.jpg")
    (photos / "207" / "1.png").unlink()
    with pytest.raises(BadImage, match=r"0\.jpg: its content has changed"):
        source.view(refs["207/0.jpg"])
    with pytest.raises(BadImage, match=r"1\.png: cannot be read"):
        source.view(refs["207/1.png"])


def test_views_are_read_only(photos: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model)
    view = source.view(source.candidates(source.classes[0])[0])
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 0


def test_file_names_that_are_not_utf_8_can_be_printed(photos: Path, imagenet_model: ViT, photo) -> None:
    folder = os.fsencode(photos / "207")
    photo(50).save(photos / "207" / "good.png")
    os.rename(folder + b"/good.png", folder + b"/g\xffd.png")  # noqa: PTH104
    os.rename(folder + b"/0.jpg", folder + b"/b\xffd.jpg")  # noqa: PTH104
    Path(os.fsdecode(folder + b"/b\xffd.jpg")).write_bytes(b"")
    source = opened(photos, imagenet_model)
    assert len(source.candidates(source.class_named("207"))) == 10
    (notices,) = source.notices
    assert notices.encode() == b"skipped 207/b\\udcffd.jpg: empty file"


def nested(folder: Path, model: ViT) -> ImageSource:
    return open_source({"folder": folder, "nested": True}, model)


def test_nested_folders(photos: Path, imagenet_model: ViT, tmp_path: Path) -> None:
    flat = opened(photos, imagenet_model)
    deep = photos / "207" / "one" / "two"
    deep.mkdir(parents=True)
    for name in ("0.jpg", "1.png"):
        (photos / "207" / name).rename(deep / name)
    source = nested(photos, imagenet_model)
    for cls in flat.classes:
        assert [r.hash for r in source.candidates(cls)] == [r.hash for r in flat.candidates(cls)]
    assert {r.origin for r in source.candidates(source.class_named("207"))} > {"207/one/two/0.jpg", "207/one/two/1.png"}
    assert source.skipped == ()
    assert len(opened(photos, imagenet_model).candidates(source.class_named("207"))) == 8


def test_nested_links_that_lead_up_are_skipped(photos: Path, imagenet_model: ViT) -> None:
    (photos / "207" / "more").mkdir()
    (photos / "207" / "more" / "up").symlink_to(photos / "207")
    (photos / "207" / "more" / "root").symlink_to(photos)
    (photos / "207" / ".hidden").mkdir()
    source = nested(photos, imagenet_model)
    assert reasons(source) == {
        "207/more/up": "link to a folder that it is in",
        "207/more/root": "link to a folder that it is in",
        "207/.hidden": "hidden",
    }


def test_nested_folders_have_no_attacked_twins(photos: Path, imagenet_model: ViT) -> None:
    with pytest.raises(InputError, match=r"which only a source \{ folder = … \} without nested folders has"):
        open_source({"folder": photos, "nested": True}, imagenet_model, attacked={"pgd": photos})
