"""Content hashes of images that users bring: from pixels, from files, or given as hashes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

Contents = Tensor | np.ndarray | Sequence[str] | Sequence[Path]
"""Pixels with one image per row, or the SHA-256 (hex) of each image, or the file of each image."""

_HASH = re.compile("[0-9a-f]{64}")


def content_hashes(what: str, contents: Contents) -> tuple[str, ...]:
    """Return the SHA-256 (hex) of each image: of its pixels with their type and shape, or of its file's bytes.

    Args:
        what: name of the images in messages.
        contents: the images.

    Raises:
        InputError: no images; pixels without one row per image, or not finite; a file that cannot be read; a string
            that is not a hash.

    Examples:
        >>> [len(h) for h in content_hashes("clean", pairs.clean)][:2]
        [64, 64]
    """
    if isinstance(contents, Tensor | np.ndarray):
        hashes = _of_pixels(what, contents)
    elif isinstance(contents, str | Path) or not isinstance(contents, Sequence):
        raise InputError(f"{what}: expected pixels, a list of files or of hashes, got {type(contents).__name__}")
    else:
        hashes = tuple(_of_entry(what, entry) for entry in contents)
    if not hashes:
        raise InputError(f"{what}: expected at least one image, got none")
    return hashes


def _of_pixels(what: str, pixels: Tensor | np.ndarray) -> tuple[str, ...]:
    if isinstance(pixels, Tensor):
        pixels = pixels.detach().cpu()
        pixels = (pixels.float() if pixels.dtype == torch.bfloat16 else pixels).numpy()
    if pixels.ndim < 3 or pixels.dtype.kind not in "fiu":
        raise InputError(
            f"{what}: expected pixels with one image per row [image, …], got {pixels.dtype} of shape {pixels.shape}"
        )
    bad = [i for i, image in enumerate(pixels) if not np.isfinite(image).all()]
    if bad:
        raise InputError(f"{what}: NaN or infinite pixels in image {bad[0]} (counted from 0); leave it out")
    return tuple(_of_image(image) for image in pixels)


def _of_image(image: np.ndarray) -> str:
    little = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
    check = hashlib.sha256(f"{little.dtype.str} {little.shape}\n".encode())
    check.update(little.tobytes())
    return check.hexdigest()


def _of_entry(what: str, entry: object) -> str:
    if isinstance(entry, str) and _HASH.fullmatch(entry):
        return entry
    if not isinstance(entry, Path):
        raise InputError(
            f"{what}: expected the SHA-256 of an image (64 digits from 0 to f) or its file as a pathlib.Path, got "
            f"{entry!r}"
        )
    try:
        with entry.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{what}: {entry} cannot be read ({error.strerror or error})") from error
