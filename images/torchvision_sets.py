"""Data sets of torchvision, by the name of their class."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..circuits.kinds import switch
from ..errors import InputError, unknown
from .contents import content_hashes
from .files import to_rgb
from .hashes import Identity
from .listing import FileImage, ListedImage, ListedSource, Listing, changed
from .opening import Opening, SourceKind, classes_param, name_param, optional, path_param, require_no_attacked


@dataclass(frozen=True, kw_only=True)
class PixelImage(ListedImage):
    """An image that a data set returns without its file, identified by its pixels in RGB."""

    dataset: Any
    index: int

    def _image(self) -> Image.Image:
        return to_rgb(self.dataset[self.index][0], self.origin)

    def identify(self) -> Identity:
        return Identity(_hash(self._image()))

    def open(self, hash: str) -> Image.Image:
        image = self._image()
        if _hash(image) != hash:
            raise changed(self.origin)
        return image


def _hash(image: Image.Image) -> str:
    return content_hashes("image", np.asarray(image)[None])[0]


def _open(opening: Opening) -> ListedSource:
    require_no_attacked(opening)
    options = opening.options
    dataset = _load(options)
    key = options["dataset"]
    names = [str(n) for n in getattr(dataset, "classes", ())]
    listing = Listing(f"torchvision's {key}")
    for target, image in _images(key, dataset, Path(options["root"])):
        listing.add(names[target] if names else str(target), image)
    return ListedSource(opening, listing, "/".join([key, *([options["split"]] if "split" in options else [])]))


def _load(options: Mapping[str, Any]) -> Any:
    """Return the data set of torchvision.

    Raises:
        InputError: there is no such data set, or it is not in its folder and may not be downloaded.
    """
    from torchvision import datasets

    key = options["dataset"]
    if key not in datasets.__all__:
        raise unknown("data set of torchvision", key, datasets.__all__)
    kind = getattr(datasets, key)
    arguments = _arguments(key, inspect.signature(kind).parameters, options)
    try:
        return kind(**arguments)
    except (RuntimeError, ValueError, OSError, ImportError) as error:
        remedy = "" if options["download"] else "; put its files there, or set download = true"
        raise InputError(f"torchvision's {key} in {options['root']}: {error}{remedy}") from error


def _arguments(key: str, accepted: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a data set: some choose the part of the images by `split`, others by `train`."""
    arguments: dict[str, Any] = {"root": options["root"]}
    split = options.get("split")
    if split is not None and "split" in accepted:
        arguments["split"] = split
    elif split in ("train", "test") and "train" in accepted:
        arguments["train"] = split == "train"
    elif split is not None:
        expected = "'train' or 'test'" if "train" in accepted else "no split"
        raise InputError(f"torchvision's {key}: split: expected {expected}, got {split!r}")
    if options["download"]:
        if "download" not in accepted:
            raise InputError(f"torchvision's {key} cannot be downloaded; leave download out and see its documentation")
        arguments["download"] = True
    return arguments


def _images(key: str, dataset: Any, root: Path) -> Iterator[tuple[int, ListedImage]]:
    """Yield the images with their targets; files, if the data set lists them.

    Raises:
        InputError: the data set does not give images with one class each.
    """
    files = getattr(dataset, "samples", None)
    if isinstance(files, list):
        for file, target in files:
            yield target, FileImage(origin=_origin(Path(file), root), path=Path(file))
        return
    for index in range(len(dataset)):
        image, target = dataset[index]
        if not isinstance(image, Image.Image) or not isinstance(target, int | np.integer):
            raise InputError(
                f"torchvision's {key}: expected images with the index of a class, got {type(image).__name__} with "
                f"{type(target).__name__}; use a data set for classification"
            )
        yield int(target), PixelImage(origin=f"{key} {index}", dataset=dataset, index=index)


def _origin(file: Path, root: Path) -> str:
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


TORCHVISION = SourceKind(
    key="torchvision",
    name="a data set of torchvision for classification",
    params={
        "dataset": name_param("the name of its class, such as CIFAR10"),
        "root": path_param("the path of the folder of its files"),
        "split": optional(name_param("the part of its images, such as train or test")),
        "download": switch(False),
        "classes": classes_param(),
    },
    paths=("root",),
    open=_open,
)
