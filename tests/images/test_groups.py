"""Groups of images: from a column, a file or a function, and the images of one group."""

from __future__ import annotations

from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, Predictions, order_candidates, read_groups, select_images
from circuitstore.images.digits import DigitsSource
from circuitstore.models import ViT


def refs_of(source: ImageSource) -> dict[str, str]:
    """Return the content hash of each image by its origin."""
    return {ref.origin: ref.hash for cls in source.classes for ref in source.candidates(cls)}


def test_a_function_of_source_and_image(digits: ImageSource) -> None:
    groups = read_groups(digits, lambda source, ref: source.class_of(ref).name if ref.hash < "8" else None)
    assert groups == {ref.hash: cls.name for cls in digits.classes for ref in digits.candidates(cls) if ref.hash < "8"}


@pytest.mark.parametrize("key", ["hash", "path"])
def test_a_file_with_hashes_or_places(digits: ImageSource, tmp_path: Path, key: str) -> None:
    places = list(refs_of(digits).items())[:9]
    rows = [
        f"{hash_ if key == 'hash' else origin},{'odd' if i % 2 else ''}" for i, (origin, hash_) in enumerate(places)
    ]
    (tmp_path / "groups.csv").write_text("\n".join([f"{key},group", *rows, "nowhere,odd"]))
    groups = read_groups(digits, tmp_path / "groups.csv")
    assert groups == {hash_: "odd" for i, (_, hash_) in enumerate(places) if i % 2}


def test_bad_groups(digits: ImageSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="digits: there is no column 'place': this source has no columns"):
        read_groups(digits, "place")
    with pytest.raises(InputError, match="groups: no image of digits has a group"):
        read_groups(digits, lambda source, ref: None)
    for name in ("", " x", "a\nb", 3):
        with pytest.raises(InputError, match="groups: expected printable text without outer blanks"):
            read_groups(digits, lambda source, ref, name=name: name)
    origin = next(iter(refs_of(digits)))
    for text, message in [
        ("path,groups\n", "the column 'group' is missing; did you mean 'groups'.*; rename one$"),
        ("file,group\n", "the column 'path' is missing"),
        ("path,group\nx,y\n", f"no path is that of an image; the path of an image is, for example, {origin}"),
        ("path,group\nx,y\nx,z\n", "row 2: x is in 'y' and in 'z'; keep one of them"),
    ]:
        (tmp_path / "groups.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            read_groups(digits, tmp_path / "groups.csv")


def test_images_of_a_group_keep_order_and_split(digits_model: ViT) -> None:
    whole, divided = DigitsSource(digits_model), DigitsSource(digits_model)
    divided.groups = read_groups(divided, lambda source, ref: "low" if ref.hash < "8" else "high")
    three = whole.class_named("three")
    parts = [divided.candidates(three, group) for group in ("low", "high")]
    assert sorted((*parts[0], *parts[1]), key=lambda r: r.hash) == list(divided.candidates(three))
    assert divided.candidates(three) == whole.candidates(three) and divided.candidates(three, "other") == ()
    assert all(divided.split_of(ref) == whole.split_of(ref) for ref in whole.candidates(three))
    chosen = select_images(Predictions(divided, digits_model), three, per_class=8, group="low")
    every = [r for r in order_candidates(whole.candidates(three), 0) if r.hash < "8"]
    assert chosen.discovery == tuple(r for r in every if r in chosen.discovery) and len(chosen.discovery) == 4
    assert {*chosen.discovery, *chosen.selection, *chosen.report} <= set(parts[0])
