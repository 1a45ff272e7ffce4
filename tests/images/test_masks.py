"""Masks and inpainting: only the marked part changes, and a mask that does not fit is named."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import CircuitStoreError, InputError
from circuitstore.images import CORRUPTIONS, ImageSource, open_source, surroundings
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import CONDITIONS
from circuitstore.images.corruptions import corrupt
from circuitstore.images.files import oriented_size
from circuitstore.images.masks import find_masks, read_mask
from circuitstore.models import ViT
from PIL import Image

INPAINT = CORRUPTIONS.resolve("inpaint")
NATURAL = CONDITIONS.resolve("natural")
BOX = (30, 20, 60, 50)


@pytest.fixture
def masks(photos: Path, tmp_path: Path) -> Path:
    """A mask per photo that marks a box in the middle."""
    root = tmp_path / "masks"
    for path in sorted(photos.rglob("*.*")):
        mask = Image.new("L", oriented_size(path))
        mask.paste(255, BOX)
        file = root / path.parent.name / f"{path.stem}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        mask.save(file)
    return root


def opened(photos: Path, model: ViT, masks: Path | None) -> ImageSource:
    return open_source({"folder": photos}, model, masks=masks)


def batch(source: ImageSource, n: int = 3) -> Batch:
    cls = source.classes[0]
    return Batch(source, cls, source.candidates(cls)[:n], (), 0)


def test_only_the_marked_part_is_filled(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    images = batch(opened(photos, imagenet_model, masks), 10)
    filled = corrupt(INPAINT, images)
    changed = (filled != images.views).any(-1)
    assert changed.reshape(10, -1).any(1).all()
    left, top, right, bottom = (round(v * 73 / 70) for v in BOX)  # 70 rows become 73, of which the middle 64 are kept
    shift_x, shift_y = (round(90 * 73 / 70) - 64) // 2, (73 - 64) // 2
    outside = np.ones((64, 64), bool)
    outside[top - shift_y - 6 : bottom - shift_y + 6, left - shift_x - 6 : right - shift_x + 6] = False
    assert not changed[:, outside].any()


def test_the_fill_does_not_depend_on_the_foreground(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model, masks)
    before = filled_pngs(source)
    for path in photos.rglob("*.png"):
        image = Image.open(path).convert("RGB")
        image.paste((255, 0, 255), BOX)
        image.save(path)
    after = filled_pngs(opened(photos, imagenet_model, masks))
    assert len(before) == 15 and before.keys() == after.keys()
    assert all(np.array_equal(before[origin], after[origin]) for origin in before)


def filled_pngs(source: ImageSource) -> dict[str, np.ndarray]:
    """Return the inpainted views of lossless images, by file."""
    refs = [(cls, ref) for cls in source.classes for ref in source.candidates(cls) if ref.origin.endswith(".png")]
    return {ref.origin: corrupt(INPAINT, Batch(source, cls, (ref,), (), 0))[0] for cls, ref in refs}


def test_the_two_methods_differ(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    images = batch(opened(photos, imagenet_model, masks))
    other = CORRUPTIONS.resolve("inpaint", {"method": "navier-stokes"})
    assert not np.array_equal(corrupt(INPAINT, images), corrupt(other, images))


def test_each_image_is_filled_by_itself(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    images = batch(opened(photos, imagenet_model, masks), 4)
    separate = [corrupt(INPAINT, Batch(images.source, images.cls, (ref,), (), 9))[0] for ref in images.refs]
    assert np.array_equal(corrupt(INPAINT, images), separate)


def test_masks_are_part_of_the_question(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    def around() -> tuple[str, ...]:
        source = opened(photos, imagenet_model, masks)
        return surroundings(source, source.classes[0], NATURAL, INPAINT, count=4)

    before = around()
    assert len(before) == 10
    file = masks / opened(photos, imagenet_model, masks).classes[0].name / "3.png"
    grown = Image.open(file).convert("L")
    grown.paste(255, (0, 0, 5, 5))
    grown.save(file)
    assert sum(a != b for a, b in zip(before, around(), strict=True)) == 1


@pytest.mark.parametrize("broken", ["missing", "size", "damaged"])
def test_a_mask_that_does_not_fit_is_named(photos: Path, masks: Path, imagenet_model: ViT, broken: str) -> None:
    file = masks / "207" / "4.png"
    match broken:
        case "missing":
            file.unlink()
            problem = "207/4.jpg has no mask"
        case "size":
            Image.new("L", (64, 64)).save(file)
            problem = "the mask of 207/4.jpg has 64 × 64 pixels, not 90 × 70"
        case _:
            file.write_bytes(b"no image")
            problem = "the mask of 207/4.jpg cannot be read (not an image"
    source = opened(photos, imagenet_model, masks)
    whole = source.candidates(source.class_named("207"))
    with pytest.raises(InputError, match=f"^{re.escape(str(masks))}: {re.escape(problem)}"):
        find_masks(source, whole)
    fitting = [ref for ref in whole if ref.origin != "207/4.jpg"]
    assert len(find_masks(source, fitting)) == 9


def test_many_missing_masks_are_counted(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    shutil.rmtree(masks / "207")
    source = opened(photos, imagenet_model, masks)
    with pytest.raises(InputError, match=r"(207/\d.\w+ has no mask; ){4}.*has no mask; and 5 more; expected for every"):
        find_masks(source, source.candidates(source.class_named("207")))


def test_two_images_of_one_name_cannot_share_a_mask(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    Image.new("RGB", (90, 70)).save(photos / "207" / "4.png")
    source = opened(photos, imagenet_model, masks)
    with pytest.raises(InputError, match=r"4\.png is the mask of several images"):
        find_masks(source, source.candidates(source.class_named("207")))


@pytest.mark.parametrize(("grey", "marked"), [(0, "no pixel"), (127, "no pixel"), (255, "all pixels")])
def test_a_mask_marks_some_pixels(photos: Path, masks: Path, imagenet_model: ViT, grey: int, marked: str) -> None:
    Image.new("L", (90, 70), grey).save(masks / "207" / "4.png")
    source = opened(photos, imagenet_model, masks)
    ref = next(r for r in source.candidates(source.class_named("207")) if r.origin == "207/4.jpg")
    with pytest.raises(InputError, match=f"4.png: the mask marks {marked}; expected a light foreground"):
        read_mask(source, ref)


def test_without_masks_the_error_names_the_field(photos: Path, imagenet_model: ViT, digits: ImageSource) -> None:
    for source in (opened(photos, imagenet_model, None), digits):
        with pytest.raises(InputError, match=r"there are no masks of the images; name their folder: images\.masks"):
            corrupt(INPAINT, batch(source))
    with pytest.raises(InputError, match=r"images\.masks: .*nowhere is no folder"):
        corrupt(INPAINT, batch(opened(photos, imagenet_model, photos / "nowhere")))


def test_without_opencv_the_error_names_the_extra(
    photos: Path, masks: Path, imagenet_model: ViT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(CircuitStoreError, match=r'cv2 is not installed; .*pip install "circuitstore\[inpaint\]"'):
        corrupt(INPAINT, batch(opened(photos, imagenet_model, masks)))


def manifest(photos: Path, masks: Path, model: ViT, left_out: str = "") -> ImageSource:
    """The photos as a table with a column of masks, all of which have other names than the images."""
    lines = ["path,class,outline"]
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        mask = masks / path.parent.name / f"{path.stem}.png"
        named = mask.rename(mask.with_name(f"mask-{number}.png"))
        origin = f"{path.parent.name}/{path.name}"
        lines.append(f"{path},{path.parent.name},{'' if origin == left_out else named}")
    file = photos.parent / "images.csv"
    file.write_text("\n".join(lines))
    return open_source({"kind": "manifest", "path": file, "mask_column": "outline"}, model)


def test_masks_of_a_manifest_fill_as_those_of_a_folder(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    images = batch(opened(photos, imagenet_model, masks), 10)
    expected = dict(zip((ref.hash for ref in images.refs), corrupt(INPAINT, images), strict=True))
    source = manifest(photos, masks, imagenet_model)
    listed = batch(source, 10)
    for ref, view in zip(listed.refs, corrupt(INPAINT, listed), strict=True):
        assert np.array_equal(view, expected[ref.hash])
    hashes = {ref.hash for ref in find_masks(source, listed.refs)}
    three = source.classes[0]
    assert set(surroundings(source, three, NATURAL, INPAINT, count=8)) >= hashes


def test_an_image_without_a_mask_in_the_manifest_is_named(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    source = manifest(photos, masks, imagenet_model, left_out="207/4.jpg")
    with pytest.raises(InputError, match=r"^images: .*207/4\.jpg has no mask; expected for every image a file of its"):
        find_masks(source, source.candidates(source.class_named("207")))


def test_a_missing_column_of_masks_is_named(photos: Path, masks: Path, imagenet_model: ViT) -> None:
    manifest(photos, masks, imagenet_model)
    table = {"kind": "manifest", "path": photos.parent / "images.csv"}
    with pytest.raises(InputError, match=r"the column 'masks' is missing.*or set mask_column"):
        open_source({**table, "mask_column": "masks"}, imagenet_model)
    with pytest.raises(InputError, match="or the column of a manifest: mask_column"):
        corrupt(INPAINT, batch(open_source(table, imagenet_model)))
