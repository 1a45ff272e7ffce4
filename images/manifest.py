"""A table of images in a CSV or Parquet file, a row per image: path, class and further columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ..errors import InputError
from .listing import FileImage, ListedSource, Listing
from .opening import Opening, SourceKind, classes_param, name_param, optional, path_param, require_no_attacked
from .tables import read_table, require_column

MAX_NAMED = 5


def _open(opening: Opening) -> ListedSource:
    require_no_attacked(opening)
    file: Path = opening.options["path"]
    table = read_table(file, "a table of images")
    paths, labels = opening.options["path_column"], opening.options["class_column"]
    require_column(table, paths, file, "path_column")
    require_column(table, labels, file, "class_column")
    masks = opening.options.get("mask_column")
    if masks is not None:
        require_column(table, masks, file, "mask_column")
    wrong = list(_bad_rows(table, paths, labels))
    if wrong or table.empty:
        more = f"; and {len(wrong) - MAX_NAMED} more rows" if len(wrong) > MAX_NAMED else ""
        raise InputError(f"{file}: {'; '.join(wrong[:MAX_NAMED]) or 'no rows'}{more}; expected a row per image")
    listing = Listing(str(file))
    for row in table.to_dict("records"):
        fields = {str(key): text for key, text in row.items() if key not in (paths, labels)}
        mask = file.parent / row[masks] if masks is not None and row[masks] else None
        image = FileImage(origin=row[paths], path=file.parent / row[paths], fields=fields, mask=mask)
        listing.add(row[labels], image)
    return ListedSource(opening, listing, file.stem)


def _bad_rows(table: pd.DataFrame, paths: str, labels: str) -> Iterator[str]:
    """Yield a message for each row without an image and class, or with the file of an earlier row."""
    first: dict[str, int] = {}
    for row, (file, label) in enumerate(zip(table[paths], table[labels], strict=True), 1):
        for column, value in ((paths, file), (labels, label)):
            if not value.strip():
                yield f"row {row}: {column} is empty"
        if file.strip() and first.setdefault(file, row) != row:
            yield f"row {row}: {paths} {file!r} is already in row {first[file]}"


MANIFEST = SourceKind(
    key="manifest",
    name="a table of images, .csv or .parquet: a row per image with its file and class; other columns may be groups",
    params={
        "path": path_param("the path of a .csv or .parquet file"),
        "path_column": name_param("the column of files; relative ones are relative to the table's folder", "path"),
        "class_column": name_param("the column of classes", "class"),
        "mask_column": optional(
            name_param("the column of masks of the foreground, files like the images, for the corruption `inpaint`")
        ),
        "classes": classes_param(),
    },
    paths=("path",),
    open=_open,
)
