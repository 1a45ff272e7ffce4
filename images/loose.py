"""Image files of a folder without classes, for scores that need no label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..errors import InputError
from ..models import ViT
from .files import BadImage, printable, read_image, suffixes


@dataclass(frozen=True, eq=False)
class LooseImage:
    """An image file as a model sees it.

    Attributes:
        file: path relative to the folder.
        hash: SHA-256 (hex) of its bytes.
        view: its pixels after resizing and cropping, 8 bits.
    """

    file: str
    hash: str
    view: UInt8[np.ndarray, "height width 3"]


def loose_files(folder: Path) -> list[Path]:
    """Return the image files of a folder and the folders in it, by suffix, in an order that depends only on names.

    Hidden files and folders are left out.

    Raises:
        InputError: no such folder, or no image file in it.

    Examples:
        >>> loose_files(folder)
        Traceback (most recent call last):
        circuitstore.errors.InputError: ...: expected a folder with image files, found none
    """
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes() and path.is_file()]
    shown = [path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts)]
    if not shown:
        raise InputError(f"{printable(folder)}: expected a folder with image files, found none")
    return shown


def loose_images(model: ViT, folder: Path, files: list[Path]) -> Iterator[LooseImage | BadImage]:
    """Yield each file as the model sees it, or the reason why it cannot be read.

    Examples:
        >>> from PIL import Image
        >>> Image.new("RGB", (80, 60)).save(folder / "black.png")
        >>> [image.view.shape for image in loose_images(model, folder, loose_files(folder))]
        [(64, 64, 3)]
    """
    for path in files:
        try:
            data = path.read_bytes()
            view = model.preprocess.view(read_image(data, path))
        except OSError as error:
            yield BadImage(path, str(error.strerror or error))
        except BadImage as error:
            yield error
        else:
            name = printable(path.relative_to(folder).as_posix())
            yield LooseImage(name, hashlib.sha256(data).hexdigest(), view)
