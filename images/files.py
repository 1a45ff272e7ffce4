"""Reading image files that people really have: what can be shown in RGB is converted, the rest is refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

MOST_PIXELS = 100_000_000
MOST_ELONGATED = 200
"""Longer over shorter side. A model's short side is resized to some hundred pixels, which a strip would not survive."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names. Not among them: formats whose decoder starts another program (EPS)."""

PAPER = (255, 255, 255)
"""What shows through transparent pixels: white."""


class BadImage(InputError):
    """An image that cannot be used; the message names the file and says why."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{shown(path)}: {reason}")
        self.path, self.reason = str(path), reason


def shown(path: Path | str) -> str:
    r"""The path as text that can always be printed: bytes that are no UTF-8 are written as `\udc..`."""
    return str(path).encode(errors="backslashreplace").decode()


def check_header(path: Path) -> str | None:
    """What a user should be told of a usable file (only the first frame counts …), without decoding its pixels.

    Raises:
        BadImage: no regular file, unreadable, empty, no image, more than 100 megapixels, or a strip.
    """
    with _told_of(path):
        if not path.is_file():
            raise BadImage(path, "broken link" if path.is_symlink() else "not a regular file")
        if path.stat().st_size == 0:
            raise BadImage(path, "empty file")
        with _opened(path, path) as image:
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            return f"{frames} frames, only the first is used" if frames > 1 else None


def read_image(data: bytes, path: Path | str) -> Image.Image:
    """The first frame in RGB, 8 bits a channel, turned as its EXIF orientation says.

    Transparent pixels show white; 16 bits are scaled to 8 (not clipped); CMYK and palettes are converted;
    colour profiles are ignored.

    Args:
        path: named in errors only.

    Raises:
        BadImage: truncated, damaged, more than 100 megapixels, a strip, or pixels without a range (32-bit, float).
    """
    with _told_of(path), _opened(BytesIO(data), path) as image:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image), path)


def shown_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, turned as its EXIF orientation says, without decoding its pixels.

    Raises:
        BadImage: as `check_header`.
    """
    with _told_of(path), _opened(path, path) as image:
        told = image.format in ("JPEG", "MPO", "TIFF") or "exif" in image.info  # of others it would decode the pixels
        turned = told and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else (image.width, image.height)


@cache
def suffixes() -> frozenset[str]:
    """Of the files of `FORMATS`, in small letters."""
    return frozenset(suffix for suffix, format_ in Image.registered_extensions().items() if format_ in FORMATS)


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow reads."""
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


@contextmanager
def _opened(source: Path | BytesIO, path: Path | str) -> Iterator[Image.Image]:
    """The image with its header read. Pillow's own warnings (of size, of odd metadata) are not for the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(source, formats=_formats()) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise BadImage(path, f"{width} × {height} pixels; at most 100 megapixels are read")
            if max(width, height) > MOST_ELONGATED * min(width, height):
                raise BadImage(path, f"{width} × {height} pixels; at most 1:{MOST_ELONGATED} is read")
            yield image


@contextmanager
def _told_of(path: Path | str) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged data into `BadImage`; their exceptions are of any type."""
    try:
        yield
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage(path, f"not an image of a known format ({', '.join(FORMATS)}), or damaged") from error
    except Image.DecompressionBombError as error:
        raise BadImage(path, "more than 100 megapixels") from error
    except PermissionError as error:
        raise BadImage(path, "no permission to read it") from error
    except Exception as error:
        raise BadImage(path, f"cannot be decoded ({error})") from error


def _to_rgb(image: Image.Image, path: Path | str) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bits(np.asarray(image), path)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (*PAPER, 255))
        return Image.alpha_composite(paper, image).convert("RGB")
    if image.mode == "F":
        raise BadImage(path, "floating-point pixels have no agreed range; save it with 8 or 16 bits a channel")
    return image.convert("RGB")


def _from_16_bits(pixels: np.ndarray, path: Path | str) -> Image.Image:
    """Grey levels 0 to 65,535 as 0 to 255, rounded; Pillow's own conversion would clip them at 255."""
    if pixels.min() < 0 or pixels.max() > 65535:
        raise BadImage(path, f"grey levels {pixels.min()} to {pixels.max()}; expected 8 or 16 bits a channel")
    eight = (pixels.astype(np.int64) * 255 + 32767) // 65535
    return Image.fromarray(eight.astype(np.uint8)).convert("RGB")
