"""Tables of images: the same images as from a folder, columns, and errors that name the row."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pandas as pd
import pytest
from circuitstore.errors import InputError
from circuitstore.images import ImageSource, open_source
from circuitstore.models import ViT


@pytest.fixture
def rows(photos: Path) -> list[dict[str, str]]:
    """A row per image of the folder of photos, with a group."""
    files = sorted(photos.rglob("*.*"))
    return [
        {"path": f"photos/{p.parent.name}/{p.name}", "class": p.parent.name, "group": f"g{i % 2}"}
        for i, p in enumerate(files)
    ]


def written(folder: Path, rows: list[dict[str, str]], name: str = "images.csv") -> Path:
    file = folder / name
    if file.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(file)
    else:
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return file


def opened(file: Path, model: ViT, **options: object) -> ImageSource:
    return open_source({"kind": "manifest", "path": file, **options}, model)


def content(source: ImageSource) -> dict[int, list[str]]:
    return {cls.class_index: [ref.hash for ref in source.candidates(cls)] for cls in source.classes}


@pytest.mark.parametrize("name", ["images.csv", "images.parquet"])
def test_a_table_gives_the_images_of_the_folder(
    photos: Path, rows: list[dict[str, str]], imagenet_model: ViT, name: str
) -> None:
    source = opened(written(photos.parent, rows, name), imagenet_model)
    assert source.name == "images"
    assert content(source) == content(open_source({"folder": photos}, imagenet_model))
    assert source.skipped == ()
    ref = source.candidates(source.classes[0])[0]
    assert source.view(ref).shape == (64, 64, 3)


def test_absolute_paths_other_columns_and_a_table_of_classes(
    photos: Path, rows: list[dict[str, str]], imagenet_model: ViT, tmp_path: Path
) -> None:
    other = [{"file": str(photos.parent / row["path"]), "label": f"c{row['class']}"} for row in rows]
    (tmp_path / "elsewhere").mkdir()
    table = {"cTiger cat": 282, "cn02123045": 281, "c207": 207}
    source = opened(
        written(tmp_path / "elsewhere", other),
        imagenet_model,
        path_column="file",
        class_column="label",
        classes=table,
    )
    assert content(source) == content(open_source({"folder": photos}, imagenet_model))
    assert {cls.name: cls.class_index for cls in source.classes} == table


def test_columns_by_content(photos: Path, rows: list[dict[str, str]], imagenet_model: ViT) -> None:
    rows[0]["group"] = ""
    source = opened(written(photos.parent, rows), imagenet_model)
    groups = source.column("group")
    origin = {ref.hash: ref.origin for cls in source.classes for ref in source.candidates(cls)}
    assert {origin[hash_]: group for hash_, group in groups.items()} == {r["path"]: r["group"] for r in rows[1:]}
    with pytest.raises(InputError, match="there is no column 'path'; its columns are: group"):
        source.column("path")


def test_files_that_cannot_be_used_are_skipped(photos: Path, rows: list[dict[str, str]], imagenet_model: ViT) -> None:
    (photos / "207" / "0.jpg").unlink()
    (photos / "207" / "2.jpg").write_bytes(b"no image")
    (photos / "207" / "4.jpg").write_bytes((photos / "207" / "6.jpg").read_bytes())
    source = opened(written(photos.parent, rows), imagenet_model)
    reasons = {s.path: s.reason for s in source.skipped}
    assert reasons.pop("photos/207/2.jpg").startswith("not an image of a known format")
    assert reasons == {
        "photos/207/0.jpg": "not a regular file",
        "photos/207/6.jpg": "same content as photos/207/4.jpg, counted once",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": ""}, "row 3: class is empty"),
        ({"path": " "}, "row 3: path is empty"),
        ({"path": "photos/207/0.jpg"}, "row 3: path 'photos/207/0.jpg' is already in row 1"),
    ],
)
def test_bad_rows(
    photos: Path, rows: list[dict[str, str]], imagenet_model: ViT, change: dict[str, str], message: str
) -> None:
    rows[2] |= change
    with pytest.raises(InputError, match=message):
        opened(written(photos.parent, rows), imagenet_model)


def test_many_bad_rows_are_counted(photos: Path, rows: list[dict[str, str]], imagenet_model: ViT) -> None:
    with pytest.raises(InputError, match="row 5: class is empty; and 25 more rows; expected a row per image"):
        opened(written(photos.parent, [row | {"class": ""} for row in rows]), imagenet_model)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("images.csv", "path,class\na.jpg\n", r"row 1: expected 2 values \(path, class\), got 1"),
        ("images.csv", "path,class\na.jpg,b\na.jpg,b,c\n", "row 2: expected 2 values"),
        ("images.csv", "file,class\na.jpg,b\n", "the column 'path' is missing. Its columns are: file, class; rename"),
        ("images.csv", "paths,class\na.jpg,b\n", "the column 'path' is missing; did you mean 'paths'"),
        ("images.csv", "path,class\n", "no rows; expected a row per image"),
        ("images.csv", "", "the column 'path' is missing. Its columns are: none"),
        ("images.csv", "path,path\n1,2", "two columns have the same name"),
        ("images.csv", "path,class\n\udcff,b\n", "cannot be read as a table of images"),
        ("images.parquet", "path,class\n", "cannot be read as a table of images"),
        ("images.txt", "path,class\n", r"expected a table of images, a file with the suffix .csv or .parquet"),
    ],
)
def test_bad_tables(tmp_path: Path, imagenet_model: ViT, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=message):
        opened(tmp_path / name, imagenet_model)


def test_a_missing_table_and_an_unknown_class(photos: Path, rows: list[dict[str, str]], imagenet_model: ViT) -> None:
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read \(No such file"):
        opened(photos / "gone.csv", imagenet_model)
    rows[0]["class"] = "taby"
    with pytest.raises(InputError, match=r"class names must match .* 'taby' is not a class \(did you mean 'tabby'"):
        opened(written(photos.parent, rows), imagenet_model)


def test_folders_of_attacked_images_need_class_folders(
    photos: Path, rows: list[dict[str, str]], imagenet_model: ViT
) -> None:
    source = {"kind": "manifest", "path": written(photos.parent, rows)}
    with pytest.raises(InputError, match="condition 'pgd': attacked images are found by class folder"):
        open_source(source, imagenet_model, attacked={"pgd": photos})


@pytest.mark.skipif(os.name == "nt", reason="this file system has no such names")
def test_a_bom_and_quoted_names(photos: Path, imagenet_model: ViT, photo) -> None:
    photo(7).save(photos / "207" / 'a, "b".png')
    text = '\ufeffpath,class\n"photos/207/a, ""b"".png",207\n'
    (photos.parent / "images.csv").write_text(text, encoding="utf-8")
    assert sum(map(len, content(opened(photos.parent / "images.csv", imagenet_model)).values())) == 1
