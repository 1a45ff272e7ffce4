"""Data sets of Hugging Face: a folder, or a name on the hub where a download is requested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..circuits.kinds import switch
from ..errors import InputError
from .files import BadImage
from .listing import EncodedImage, ListedSource, Listing
from .opening import Opening, SourceKind, classes_param, name_param, optional, path_param, require_no_attacked


@dataclass(frozen=True, kw_only=True)
class RowImage(EncodedImage):
    """An image in a column of a data set that does not decode it."""

    rows: Any
    index: int
    column: str

    def read(self) -> bytes:
        stored = self.rows[self.index][self.column]
        if stored is None:
            raise BadImage(self.origin, "the row has no image")
        return stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()


def _open(opening: Opening) -> ListedSource:
    require_no_attacked(opening)
    options = opening.options
    place, split = _place(options), options.get("split")
    image, label = options["image_column"], options["class_column"]
    rows = _undecoded(place, _split(place, _load(place, options), split), image, label)
    listing = Listing(place)
    for index, (label_name, fields) in enumerate(_labelled(rows, image, label)):
        origin = f"{Path(place).name} {index}"
        listing.add(label_name, RowImage(origin=origin, rows=rows, index=index, column=image, fields=fields))
    return ListedSource(opening, listing, f"{Path(place).name}/{split}" if split else Path(place).name)


def _place(options: Mapping[str, Any]) -> str:
    """Return the folder, or the name on the hub if a download is requested."""
    folder, name = options.get("folder"), options.get("dataset")
    if (folder is None) == (name is None):
        raise InputError("source of images 'hub': expected either folder, or dataset with download = true")
    if name is not None and not options["download"]:
        raise InputError(
            f"source of images 'hub': {name!r} is a name on the hub, which needs the network; set download = true, or "
            "give the folder of a data set"
        )
    return str(folder or name)


def _load(place: str, options: Mapping[str, Any]) -> Any:
    """Return a data set or its splits by name.

    Raises:
        InputError: the package is missing, or there is no such data set.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError("source of images 'hub': needs the package datasets: pip install circuitstore[hub]") from error
    saved = any((Path(place) / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        return datasets.load_from_disk(place) if "folder" in options and saved else datasets.load_dataset(place)
    except Exception as error:  # the package raises errors of many types
        raise InputError(f"source of images 'hub': {place} cannot be loaded: {error}") from error


def _split(place: str, found: Any, split: str | None) -> Any:
    splits = found if isinstance(found, dict) else {}
    if not splits and split is None:
        return found
    if split not in splits:
        expected = ", ".join(splits) or "no split"
        raise InputError(f"{place}: split: expected {expected}, got {split!r}")
    return splits[split]


def _undecoded(place: str, rows: Any, image: str, label: str) -> Any:
    """Return the rows with images as bytes.

    Raises:
        InputError: a column is missing, or the one of images has other values.
    """
    import datasets

    for column, option in ((image, "image_column"), (label, "class_column")):
        if column not in rows.column_names:
            raise InputError(
                f"{place}: the column {column!r} is missing; set {option} to one of: {', '.join(rows.column_names)}"
            )
    try:
        return rows.cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # the package raises errors of many types
        raise InputError(f"{place}: the column {image!r} has no images: {error}; set image_column") from error


def _labelled(rows: Any, image: str, label: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the name of the class and the other plain values of each row."""
    names = getattr(rows.features[label], "names", None)
    for row in rows.remove_columns(image):
        value = row.pop(label)
        name = str(names[value]) if names and isinstance(value, int) else str(value)
        yield name, {key: str(of) for key, of in row.items() if isinstance(of, str | int | float)}


HUB = SourceKind(
    key="hub",
    name="a data set of Hugging Face, from a folder; from the hub only with download = true (needs the extra `hub`)",
    params={
        "folder": optional(path_param("the path of a folder that save_to_disk wrote, or of a data set's files")),
        "dataset": optional(name_param("its name on the hub")),
        "download": switch(False),
        "split": optional(name_param("one of its splits, such as train")),
        "image_column": name_param("the column of images", "image"),
        "class_column": name_param("the column of classes", "label"),
        "classes": classes_param(),
    },
    paths=("folder",),
    open=_open,
)
