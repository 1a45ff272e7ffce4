"""Read image files of many formats as RGB; files that cannot be converted raise `BadImage`."""

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

MAX_PIXELS = 100_000_000
MAX_ASPECT_RATIO = 200
"""Longer over shorter side: resizing the short side to some hundred pixels would make longer strips too large."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Names in Pillow, without formats whose decoder starts another program (EPS)."""

PAPER = (255, 255, 255)
"""Background of transparent pixels: white."""


class BadImage(InputError):
    """An image that cannot be used; the message names the file and the reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{printable(path)}: {reason}")
        self.path, self.reason = str(path), reason


def printable(path: Path | str) -> str:
    r"""Return a path as printable text: bytes that are not UTF-8 become `\udc..`.

    Examples:
        >>> printable(Path("photos/tabby/1.jpg"))
        'photos/tabby/1.jpg'
    """
    return str(path).encode(errors="backslashreplace").decode()


def check_header(path: Path) -> str | None:
    """Check a file without decoding its pixels; return a notice for the user (such as unused frames) or None.

    Raises:
        BadImage: not a regular file, unreadable, empty, not an image, more than 100 megapixels, or too elongated.
    """
    with _as_bad_image(path):
        if not path.is_file():
            raise BadImage(path, "broken link" if path.is_symlink() else "not a regular file")
        if path.stat().st_size == 0:
            raise BadImage(path, "empty file")
        return _unused_frames(path, path)


def check_encoded(data: bytes, path: Path | str) -> str | None:
    """Check the bytes of an image like a file.

    Raises:
        BadImage: see `check_header`.
    """
    with _as_bad_image(path):
        if not data:
            raise BadImage(path, "empty file")
        return _unused_frames(BytesIO(data), path)


def _unused_frames(source: Path | BytesIO, path: Path | str) -> str | None:
    """Return the notice for an image of several frames."""
    with _opened(source, path) as image:
        frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
        return f"{frames} frames, only the first is used" if frames > 1 else None


def read_image(data: bytes, path: Path | str) -> Image.Image:
    """Decode the first frame in RGB with 8 bits per channel, rotated according to its EXIF orientation.

    Transparent pixels become white; 16 bits are scaled to 8 (not clipped); CMYK and palettes are converted; colour
    profiles are ignored.

    Args:
        data: the file's bytes.
        path: path for messages.

    Raises:
        BadImage: truncated, damaged, more than 100 megapixels, too elongated, or of unknown range (32-bit, float).
    """
    with _as_bad_image(path), _opened(BytesIO(data), path) as image:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image), path)


def oriented_size(path: Path) -> tuple[int, int]:
    """Return an image's width and height after its EXIF rotation, without decoding its pixels.

    Raises:
        BadImage: see `check_header`.
    """
    with _as_bad_image(path), _opened(path, path) as image:
        cheap = image.format in ("JPEG", "MPO", "TIFF") or "exif" in image.info  # other formats would be decoded
        turned = cheap and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else (image.width, image.height)


@cache
def suffixes() -> frozenset[str]:
    """Return the file suffixes of `FORMATS`, in lower case."""
    return frozenset(suffix for suffix, format_ in Image.registered_extensions().items() if format_ in FORMATS)


@cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this build of Pillow reads."""
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


@contextmanager
def _opened(source: Path | BytesIO, path: Path | str) -> Iterator[Image.Image]:
    """Open an image and check its size, without Pillow's warnings about size and metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(source, formats=_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadImage(path, f"{width} × {height} pixels; the maximum is 100 megapixels")
            if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
                raise BadImage(path, f"{width} × {height} pixels; the maximum aspect ratio is {MAX_ASPECT_RATIO}:1")
            yield image


@contextmanager
def _as_bad_image(path: Path | str) -> Iterator[None]:
    """Convert errors inside the block to `BadImage`; decoders raise exceptions of any type on damaged data."""
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


def to_rgb(image: Image.Image, path: Path | str) -> Image.Image:
    """Return an image in RGB with 8 bits per channel, see `read_image`.

    Raises:
        BadImage: its pixels have an unknown range.
    """
    if image.mode.startswith("I"):
        return _from_16_bits(np.asarray(image), path)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (*PAPER, 255))
        return Image.alpha_composite(paper, image).convert("RGB")
    if image.mode == "F":
        raise BadImage(path, "floating-point pixels have no standard range; save it with 8 or 16 bits per channel")
    return image.convert("RGB")


def _from_16_bits(pixels: np.ndarray, path: Path | str) -> Image.Image:
    """Scale grey levels 0 to 65,535 to 0 to 255, rounded; Pillow's own conversion would clip them at 255."""
    if pixels.min() < 0 or pixels.max() > 65535:
        raise BadImage(path, f"grey levels {pixels.min()} to {pixels.max()}; expected 8 or 16 bits per channel")
    eight = (pixels.astype(np.int64) * 255 + 32767) // 65535
    return Image.fromarray(eight.astype(np.uint8)).convert("RGB")
