"""Masks of the foreground of images: files that a manifest names, or a folder with the class folders of the images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ..errors import InputError
from .files import BadImage, oriented_size, printable, read_image
from .source import ImageRef, ImageSource

LIGHT = 128
"""Lowest grey level of the foreground."""

MAX_NAMED = 5


def find_masks(source: ImageSource, refs: Sequence[ImageRef]) -> tuple[ImageRef, ...]:
    """Return the mask of each image: the file that the source names, or `masks/tabby/1.png` for `tabby/1.jpg`.

    Raises:
        InputError: the source has no masks; an image has no mask, that of another image, or one of another size or that
            is no image; the message names the images.
    """
    _check_folder(source)
    paths = {ref: source.mask_file(ref) for ref in refs}
    if not any(paths.values()):
        raise InputError(
            f"{source.name}: there are no masks of the images; name their folder: images.masks, or the column of a "
            "manifest: mask_column"
        )
    problems = [problem for ref, path in paths.items() if (problem := _problem(source, ref, path))]
    expected = "expected for every image a file of its size"
    if source.masks is not None:
        uses = Counter(filter(None, paths.values()))
        problems += [f"{path.name} is the mask of several images" for path, n in uses.items() if n > 1]
        expected = "expected for every image a PNG file with its class folder, name and size"
    if problems:
        more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
        raise InputError(f"{source.masks or source.name}: {'; '.join(problems[:MAX_NAMED])}{more}; {expected}")
    return tuple(ImageRef(_hash(path), printable(path)) for path in paths.values() if path)


def read_mask(source: ImageSource, ref: ImageRef) -> Bool[np.ndarray, "height width"]:
    """Return the mask of an image in the size of the image: True for the foreground, the light pixels.

    Raises:
        InputError: see `find_masks`; or the mask marks no pixel, or all of them.
    """
    find_masks(source, [ref])
    path = source.mask_file(ref)
    assert path is not None  # find_masks has raised an error otherwise
    mask = np.array(read_image(path.read_bytes(), path).convert("L")) >= LIGHT
    if mask.all() or not mask.any():
        marked = "all pixels" if mask.all() else "no pixel"
        raise InputError(f"{printable(path)}: the mask marks {marked}; expected a light foreground on dark ground")
    return mask


def _check_folder(source: ImageSource) -> None:
    """Raise InputError if the folder of masks is no folder."""
    if source.masks is not None and not source.masks.is_dir():
        raise InputError(f"images.masks: {printable(source.masks)} is no folder")


def _problem(source: ImageSource, ref: ImageRef, path: Path | None) -> str | None:
    """Return what is wrong with the mask of an image, or None; images that cannot be decoded need no mask."""
    if path is None or not path.is_file():
        return f"{printable(ref.origin)} has no mask"
    try:
        own = oriented_size(path)
    except BadImage as error:
        return f"the mask of {printable(ref.origin)} cannot be read ({error.reason})"
    with suppress(BadImage):
        width, height = source.image_size(ref)
        if own != (width, height):
            return f"the mask of {printable(ref.origin)} has {own[0]} × {own[1]} pixels, not {width} × {height}"
    return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
