"""Attacked images in a separate folder, matched to clean ones by class folder and file name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import (
    CONDITIONS,
    CORRUPTIONS,
    ImageSource,
    Predictions,
    build_pairs,
    open_source,
    select_images,
    surroundings,
    target_of,
)
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import attack
from circuitstore.models import ViT
from PIL import Image

PGD = CONDITIONS.resolve("folder", {"name": "pgd"})
TWIN, BLUR = CORRUPTIONS.resolve("unattacked-twin"), CORRUPTIONS.resolve("blur")


@pytest.fixture
def attacked(photos: Path, tmp_path: Path) -> Path:
    """Every photo turned upside down, as PNG."""
    root = tmp_path / "attacked"
    for path in sorted(photos.rglob("*.*")):
        twin = root / path.parent.name / f"{path.stem}.png"
        twin.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("RGB").rotate(180).save(twin)
    return root


def opened(photos: Path, model: ViT, **folders: Path) -> ImageSource:
    return open_source({"folder": photos}, model, attacked=folders)


def error_of(photos: Path, model: ViT, **folders: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(photos, model, **folders)
    return str(caught.value)


def files_of(source: ImageSource, name: str) -> list[str]:
    return sorted(ref.origin for ref in source.candidates(source.class_named(name)))


def test_every_image_has_its_own_twin(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model, pgd=attacked)
    assert source.notices == ()
    cls = source.classes[0]
    refs = source.candidates(cls)
    views = attack(PGD, Batch(source, cls, refs, (), 0))
    for ref, view in zip(refs, views, strict=True):
        twin = Image.open(attacked / Path(ref.origin).parent / f"{Path(ref.origin).stem}.png")
        assert np.array_equal(view, imagenet_model.preprocess.view(twin))
        assert source.attacked_ref("pgd", ref).origin == f"{cls.name}/{Path(ref.origin).stem}.png"
    with pytest.raises(ValueError, match="read-only"):
        source.attacked_view("pgd", refs[0])[:] = 0


def test_the_unattacked_twin_is_the_clean_image(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model, pgd=attacked)
    cls = source.classes[1]
    refs = source.candidates(cls)[:3]
    made = build_pairs(Predictions(source, imagenet_model), cls, refs, PGD, TWIN)
    clean = imagenet_model.preprocess.normalise(np.stack([source.view(ref) for ref in refs]))
    assert made.corrupted.equal(clean) and not made.clean.equal(clean)
    assert made.targets is None


def test_a_twin_of_the_models_image_size_is_not_preprocessed(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    plain = opened(photos, imagenet_model)
    ref = next(r for r in plain.candidates(plain.class_named("207")) if r.origin == "207/4.jpg")
    view = 255 - plain.view(ref)
    Image.fromarray(view).save(attacked / "207" / "4.png")
    source = opened(photos, imagenet_model, pgd=attacked)
    assert np.array_equal(source.attacked_view("pgd", ref), view)


def test_exif_rotation_comes_before_comparing_sizes(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    path = photos / "207" / "4.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)  # 90 × 70 pixels, shown as 70 × 90
    assert "207/4.png: 90 × 70 pixels, expected 70 × 90 pixels like its clean image" in error_of(
        photos, imagenet_model, pgd=attacked
    )
    Image.open(attacked / "207" / "4.png").rotate(90, expand=True).save(attacked / "207" / "4.png")
    assert opened(photos, imagenet_model, pgd=attacked).notices == ()


def test_images_without_a_twin_are_skipped_and_reported(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    for k in (1, 3):
        (attacked / "207" / f"{k}.png").unlink()
    shutil.copy(attacked / "207" / "0.png", attacked / "207" / "stranger.png")
    source = opened(photos, imagenet_model, pgd=attacked)
    assert files_of(source, "207") == sorted(f"207/{k}.{('jpg', 'png')[k % 2]}" for k in range(10) if k not in (1, 3))
    assert len(files_of(source, "Tiger cat")) == 10
    lost, stranger = sorted(source.notices, reverse=True)
    assert lost == f"skipped 207/1.png, 207/3.png: no attacked twin of the same name in {attacked}"
    assert stranger == f"condition 'pgd': 207/stranger.png in {attacked}: no clean image of the same name"


def test_a_class_without_twins_is_only_used_for_contrast(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    shutil.rmtree(attacked / "207")
    source = opened(photos, imagenet_model, pgd=attacked)
    assert len(files_of(source, "207")) == 10
    assert [cls.name for cls in source.classes if not source.has_attacked(cls)] == ["207"]
    with pytest.raises(InputError, match="condition 'pgd' has no attacked image of 207/"):
        source.attacked_view("pgd", source.candidates(source.class_named("207"))[0])


def test_two_folders_keep_images_with_twins_in_both(
    photos: Path, attacked: Path, imagenet_model: ViT, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(attacked, other)
    (attacked / "207" / "1.png").unlink()
    (other / "207" / "3.png").unlink()
    source = opened(photos, imagenet_model, pgd=attacked, patch=other)
    assert len(files_of(source, "207")) == 8 and all(map(source.has_attacked, source.classes))


def test_surroundings_depend_on_the_content_of_twins(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    """They do not depend on their folder and file names."""

    def of_folder(root: Path) -> list[tuple[str, ...]]:
        source = opened(photos, imagenet_model, pgd=root)
        return [surroundings(source, cls, PGD, BLUR, count=8) for cls in source.classes]

    before = of_folder(attacked)
    assert [len(of) for of in before] == [10, 10, 10]
    moved = shutil.move(attacked, attacked.parent / "elsewhere")
    assert of_folder(Path(moved)) == before
    path = Path(moved) / "207" / "4.png"
    Image.open(path).rotate(180).save(path)
    after = of_folder(Path(moved))
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 1


def test_the_target_is_a_class_by_name_or_index(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    source = opened(photos, imagenet_model, pgd=attacked)

    def aim(target: str | int) -> int | None:
        return target_of(CONDITIONS.resolve("folder", {"name": "pgd", "target": target}), source, source.classes[0], 0)

    assert target_of(PGD, source, source.classes[0], 0) is None
    assert aim("tench") == aim(0) == aim("n01440764") == 0
    with pytest.raises(InputError, match=r"condition folder\(name=pgd, target=tensh\): target: unknown class 'tensh'"):
        aim("tensh")


def test_only_images_for_which_the_attack_succeeds_are_successful(
    photos: Path, attacked: Path, imagenet_model: ViT, tmp_path: Path
) -> None:
    """The twins of one half show an image of another predicted class, those of the other half the same image."""
    plain = opened(photos, imagenet_model)
    read = {c.name: Predictions(plain, imagenet_model).of(c, plain.candidates(c)).tolist() for c in plain.classes}
    table = {"Tiger cat": read["Tiger cat"][0]}
    source = open_source({"folder": photos, "classes": table}, imagenet_model)
    (cls,) = source.classes
    right = [r for r, i in zip(source.candidates(cls), read["Tiger cat"], strict=True) if i == cls.class_index]
    other = next(
        photos / ref.origin
        for c in plain.classes
        for ref, index in zip(plain.candidates(c), read[c.name], strict=True)
        if index != cls.class_index
    )
    turned = {ref.origin for ref in right[::2]}
    for ref in source.candidates(cls):
        shown = other if ref.origin in turned else photos / ref.origin
        Image.open(shown).convert("RGB").save(attacked / "Tiger cat" / f"{Path(ref.origin).stem}.png")
    source = open_source({"folder": photos, "classes": table}, imagenet_model, attacked={"pgd": attacked})
    predictions = Predictions(source, imagenet_model)
    chosen = select_images(predictions, cls, per_class=40, rule="successful", condition=PGD)
    assert {ref.origin for ref in (*chosen.discovery, *chosen.selection, *chosen.report)} == turned
    tally = predictions.tally(cls, source.candidates(cls), PGD)
    assert (tally.tried, tally.correct, tally.succeeded) == (10, len(right), len(turned))
    assert f"turns {len(turned)} of {len(right)} into another class" in chosen.why


def break_name(attacked: Path) -> None:
    shutil.copy(attacked / "207" / "4.png", attacked / "207" / "4.bmp")


def empty_file(attacked: Path) -> None:
    (attacked / "207" / "4.png").write_bytes(b"")


def no_picture(attacked: Path) -> None:
    (attacked / "207" / "4.png").write_bytes(b"no picture at all")


def wrong_size(attacked: Path) -> None:
    Image.open(attacked / "207" / "4.png").resize((89, 70)).save(attacked / "207" / "4.png")


def no_classes(attacked: Path) -> None:
    for folder in list(attacked.iterdir()):
        folder.rename(attacked / f"{folder.name} attacked")


def no_folder(attacked: Path) -> None:
    shutil.rmtree(attacked)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (break_name, "207/4.bmp and 207/4.png both match 207/4.jpg; keep one of them"),
        (empty_file, "207/4.png: empty file; repair or remove these files"),
        (no_picture, "4.png: not an image of a known format"),
        (wrong_size, "207/4.png: 89 × 70 pixels, expected 90 × 70 pixels like its clean image, or 64 × 64 pixels like"),
        (no_classes, "none of the 30 images of "),
        (no_folder, "not a readable folder of attacked images (No such file or directory)"),
    ],
)
def test_an_unusable_folder_raises(photos: Path, attacked: Path, imagenet_model: ViT, harm, reason: str) -> None:
    harm(attacked)
    message = error_of(photos, imagenet_model, pgd=attacked)
    assert message.startswith(f"{attacked}: ") and reason in message


def test_two_clean_images_with_one_twin_raise(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    Image.open(photos / "207" / "4.jpg").rotate(90).save(photos / "207" / "4.webp")
    message = error_of(photos, imagenet_model, pgd=attacked)
    assert "207/4.png matches 207/4." in message and "full names" in message
    for suffix in ("jpg", "webp"):
        shutil.copy(attacked / "207" / "5.png", attacked / "207" / f"4.{suffix}")  # PNG inside, as some scripts save
    (attacked / "207" / "4.png").unlink()
    source = opened(photos, imagenet_model, pgd=attacked)
    pairs = [(r.origin, source.attacked_ref("pgd", r).origin) for r in source.candidates(source.class_named("207"))]
    assert [twin for clean, twin in pairs if twin.startswith("207/4")] == [c for c, _ in pairs if c.startswith("207/4")]


def test_a_twin_that_changes_or_cannot_be_decoded_raises(photos: Path, attacked: Path, imagenet_model: ViT) -> None:
    path = attacked / "207" / "4.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-400])
    source = opened(photos, imagenet_model, pgd=attacked)
    ref = next(r for r in source.candidates(source.class_named("207")) if r.origin == "207/4.jpg")
    with pytest.raises(InputError, match=r"attacked/207/4\.png: cannot be decoded"):
        source.attacked_view("pgd", ref)
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"attacked/207/4\.png: its content has changed"):
        source.attacked_view("pgd", ref)


def test_digits_have_no_files_to_match(digits_model: ViT, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="digits are not files"):
        open_source("digits", digits_model, attacked={"pgd": tmp_path})
